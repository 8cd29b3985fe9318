"""Handing anomaly maps to an evaluator: one by one, or a folder of them on several processes."""

import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from loco_tools.datasets.maps import find_maps, good_validation_maps, read_map
from loco_tools.datasets.sample import DatasetClass, Sample
from loco_tools.errors import DatasetError
from loco_tools.evaluation.counts import require_both
from loco_tools.evaluation.evaluation import Evaluation
from loco_tools.evaluation.evaluator import AnomalyMap, Evaluator, Settings, sample_key
from loco_tools.evaluation.thresholds import DEFAULT_FPR, ValidationMaps
from loco_tools.progress import SILENT, Progress

DEFAULT_DRAWS = 1000


def evaluate_maps(
    samples: Sequence[Sample],
    read_map_of: Callable[[Sample], AnomalyMap],
    scores: Mapping[str, float] | None = None,
    progress: Progress = SILENT,
    *,
    validation: ValidationMaps | tuple[Mapping[str, float], Callable[[str], AnomalyMap]] | None = (
        None
    ),
    fpr: float = DEFAULT_FPR,
    bootstrap: int = 0,
) -> Evaluation:
    """Evaluate test images one at a time; at most one map is in memory.

    Args:
        samples: the test images, with their truth.
        read_map_of: gives the (H, W) anomaly map of an image; called once per image.
        scores: image scores by `sample_key`; by default the maximum of each map.
        progress: told of every image.
        validation: image scores of good validation images by name, and what gives the map of a
            name; thresholds are taken from them.
        fpr: share of good validation images, and of their pixels, above the threshold.
        bootstrap: draws behind the intervals; 0 for none.

    Raises:
        DatasetError: see `Evaluator.add` and `Evaluator.result`; or `scores` lacks an image.
    """
    _require_kinds(samples)
    evaluator = Evaluator(Settings(bootstrap, fpr))
    known, read_validation = validation if validation is not None else ({}, None)
    with progress.task("evaluate", total=len(samples) + len(known)) as advance:
        for sample in samples:
            evaluator.add(sample, read_map_of(sample), _score(scores, sample))
            advance(1)
        if read_validation is not None:
            for name, score in known.items():
                evaluator.add_validation(name, read_validation(name), score)
                advance(1)
    return evaluator.result()


def evaluate_folder(
    maps_class_dir: Path | str,
    dataset: DatasetClass,
    progress: Progress = SILENT,
    *,
    jobs: int = 1,
    bootstrap: int = DEFAULT_DRAWS,
    fpr: float = DEFAULT_FPR,
) -> Evaluation:
    """Evaluate anybody's maps of a class: `<maps_class_dir>/test/<kind folder>/<id>.tiff`.

    The folder above it, which holds a folder of the class's name, is accepted as well. Every test
    image must have its map, and every map its image. Where there is
    `<maps_class_dir>/validation/good/<id>.tiff`, thresholds are taken from these maps.

    Args:
        maps_class_dir: the folder of maps.
        dataset: the class that they belong to.
        progress: told of every image, or with several processes of every process that is done.
        jobs: processes. They start afresh, so a script that asks for several needs the usual
            `if __name__ == "__main__":`. Figures are the same to 12 digits whatever the number.
        bootstrap: draws behind the intervals; 0 for none.
        fpr: share of good validation images, and of their pixels, above the threshold.

    Raises:
        DatasetError: maps are missing, surplus, damaged, or of the wrong shape; a process was
            killed; or see `evaluate_maps`.
    """
    if jobs < 1:
        raise DatasetError(f"jobs: expected 1 process or more, got {jobs}")
    settings = Settings(bootstrap, fpr)
    folder = _class_folder(Path(maps_class_dir), dataset)
    paths = find_maps(folder, dataset.test)
    _require_kinds(dataset.test)
    validation = good_validation_maps(folder, dataset.validation)
    items = [
        *(_Item(path, sample, "") for sample, path in paths.items()),
        *(_Item(path, None, name) for name, path in validation.items()),
    ]
    with progress.task("evaluate", total=len(items)) as advance:
        return _counted(items, settings, min(jobs, len(items)), advance).result()


class _Item(NamedTuple):
    """A map on disk: of a test image, or else of the good validation image of that name."""

    path: Path
    sample: Sample | None
    name: str


def _counted(
    items: Sequence[_Item], settings: Settings, jobs: int, advance: Callable[[int], None]
) -> Evaluator:
    if jobs == 1:
        return _count(items, settings, advance)
    whole = Evaluator(settings)
    context = multiprocessing.get_context("spawn")  # forking a process with threads may hang it
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        shares = [items[start::jobs] for start in range(jobs)]
        futures = {pool.submit(_count, share, settings): len(share) for share in shares}
        try:
            for future in as_completed(futures):
                whole.merge(future.result())
                advance(futures[future])
        except BrokenProcessPool as error:
            raise DatasetError(
                f"expected {jobs} processes to count the maps, but one ended without a word; next "
                "step: free some memory or use fewer jobs, and in a script of your own start them "
                'below if __name__ == "__main__":'
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return whole


def _count(
    items: Iterable[_Item], settings: Settings, advance: Callable[[int], None] | None = None
) -> Evaluator:
    """Read and count some of the maps; also what each process runs."""
    evaluator = Evaluator(settings)
    for item in items:
        anomaly_map = read_map(item.path)
        if item.sample is None:
            evaluator.add_validation(item.name, anomaly_map)
        else:
            if anomaly_map.shape != item.sample.size:
                raise DatasetError(
                    f"{item.path}: expected a map of shape {item.sample.size} (height, width) like "
                    f"{item.sample.image_path}, got {anomaly_map.shape}"
                )
            evaluator.add(item.sample, anomaly_map)
        if advance is not None:
            advance(1)
    return evaluator


def _class_folder(given: Path, dataset: DatasetClass) -> Path:
    """The folder that holds `test/`: the given one, or the one of the class in it."""
    for folder in (given, given / dataset.name):
        if (folder / "test").is_dir():
            return folder
    raise DatasetError(
        f"{given}: expected anomaly maps in {given / 'test'}, got no such folder; next step: name "
        "the folder that holds test/<kind folder>/<id>.tiff"
    )


def _require_kinds(samples: Sequence[Sample]) -> None:
    kinds = {sample.kind for sample in samples}
    require_both("good" in kinds, bool(kinds - {"good"}))


def _score(scores: Mapping[str, float] | None, sample: Sample) -> float | None:
    if scores is None:
        return None
    if (key := sample_key(sample)) not in scores:
        raise DatasetError(f"{key}: expected an image score for each test image, got none")
    return scores[key]
