"""Evaluation of anomaly maps from memory, or of a folder of them in several processes."""

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
from loco_tools.schema import loads_json
from loco_tools.wording import printable

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
        samples: the test images, with their ground truth.
        read_map_of: returns the (H, W) anomaly map of an image; called once per image.
        scores: image scores by `sample_key`; by default the maximum of each map.
        progress: advances with every image.
        validation: image scores of good validation images by name, and a function that returns the
            map of a name; the thresholds are computed from them.
        fpr: false-positive rate on good validation images, and on their pixels, that sets the
            threshold.
        bootstrap: number of draws for the intervals; 0 for no intervals.

    Raises:
        DatasetError: see `Evaluator.add` and `Evaluator.result`; or `scores` lacks an image.
    """
    _require_kinds(samples)
    evaluator = Evaluator(Settings(bootstrap, fpr))
    known, read_validation = validation if validation is not None else ({}, None)
    with progress.task("evaluate", total=len(samples) + len(known)) as advance:
        for sample in samples:
            if scores is not None and sample_key(sample) not in scores:
                raise DatasetError(
                    f"{sample_key(sample)}: expected an image score for each test image, got none"
                )
            score = None if scores is None else scores[sample_key(sample)]
            evaluator.add(sample, read_map_of(sample), score)
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
    """Evaluate the maps of a class in `<maps_class_dir>/test/<kind folder>/<id>.tiff`.

    The parent folder, which holds a folder named like the class, is accepted as well. Every test
    image must have a map, and every map an image. If there are maps in
    `<maps_class_dir>/validation/good/<id>.tiff`, the thresholds are computed from them.

    Args:
        maps_class_dir: the folder of maps.
        dataset: the class that they belong to.
        progress: advances with every image, or with every process that finishes.
        jobs: number of processes. They import the calling script, so a script that uses several
            needs `if __name__ == "__main__":`. Metrics agree to 12 digits whatever the number.
        bootstrap: number of draws for the intervals; 0 for no intervals.
        fpr: false-positive rate on good validation images, and on their pixels, that sets the
            threshold.

    Raises:
        DatasetError: maps are missing, surplus, damaged, of the wrong shape, or of another class
            according to `maps.json`; a worker process died; or see `evaluate_maps`.
    """
    if jobs < 1:
        raise DatasetError(f"jobs: expected 1 process or more, got {jobs}")
    settings = Settings(bootstrap, fpr)
    given = Path(maps_class_dir)
    folder = next((f for f in (given, given / dataset.name) if (f / "test").is_dir()), None)
    if folder is None:
        raise DatasetError(
            f"{given}: expected anomaly maps in {given / 'test'}, got no such folder; next step: "
            "give the folder that holds test/<kind folder>/<id>.tiff"
        )
    _require_class(folder, dataset.name)
    paths = find_maps(folder, dataset.test)
    _require_kinds(dataset.test)
    validation = good_validation_maps(folder, dataset.validation)
    items = [
        *(_Item(path, sample, "") for sample, path in paths.items()),
        *(_Item(path, None, name) for name, path in validation.items()),
    ]
    with progress.task("evaluate", total=len(items)) as advance:
        return _count_in_processes(items, settings, min(jobs, len(items)), advance).result()


def _require_class(folder: Path, expected: str) -> None:
    """Refuse maps that a benchmark made of another class; other programs write no `maps.json`."""
    path = folder / "maps.json"
    try:
        record = loads_json(path.read_bytes())
    except (OSError, ValueError):
        return
    found = record.get("class_name") if isinstance(record, dict) else None
    if isinstance(found, str) and found != expected:
        raise DatasetError(
            f"{path}: these are the maps of class {printable(found)}; expected {expected}; next "
            "step: give the maps of this class, or the class of these maps; if it was only "
            "renamed, remove this file"
        )


class _Item(NamedTuple):
    """A map on disk: of a test image, or of the good validation image of that name."""

    path: Path
    sample: Sample | None
    name: str


def _count_in_processes(
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
                "a worker process died while evaluating maps; next step: free some memory or use "
                "fewer jobs, and in a script of your own call this function below "
                'if __name__ == "__main__":'
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return whole


def _count(
    items: Iterable[_Item], settings: Settings, advance: Callable[[int], None] | None = None
) -> Evaluator:
    """Read and count some of the maps; with several processes each of them runs this."""
    evaluator = Evaluator(settings)
    for item in items:
        if item.sample is None:
            evaluator.add_validation(item.name, read_map(item.path))
        else:
            evaluator.add(item.sample, read_map(item.path, like=item.sample.image_path))
        if advance is not None:
            advance(1)
    return evaluator


def _require_kinds(samples: Sequence[Sample]) -> None:
    kinds = {sample.kind for sample in samples}
    require_both("good" in kinds, bool(kinds - {"good"}))
