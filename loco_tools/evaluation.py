"""Evaluating the anomaly maps of a class: from a folder, or from whatever else holds them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loco_tools.datasets.maps import find_maps, read_map
from loco_tools.datasets.sample import DatasetClass, Sample
from loco_tools.errors import DatasetError
from loco_tools.evaluator import AnomalyMap, Evaluation, Evaluator, sample_key
from loco_tools.progress import SILENT, Progress

__all__ = [
    "AnomalyMap",
    "Evaluation",
    "Evaluator",
    "evaluate_folder",
    "evaluate_maps",
    "sample_key",
]


def evaluate_maps(
    samples: Sequence[Sample],
    read_map_of: Callable[[Sample], AnomalyMap],
    scores: Mapping[str, float] | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Evaluate test images one at a time; at most one map is in memory.

    Args:
        samples: the test images, with their truth.
        read_map_of: gives the (H, W) anomaly map of an image; called once per image.
        scores: image scores by `sample_key`; by default the maximum of each map.
        progress: told of every image.

    Raises:
        DatasetError: see `Evaluator.add` and `Evaluator.result`; or `scores` lacks an image.
    """
    evaluator = Evaluator()
    with progress.task("evaluate", total=len(samples)) as advance:
        for sample in samples:
            evaluator.add(sample, read_map_of(sample), _score(scores, sample))
            advance(1)
    return evaluator.result()


def evaluate_folder(
    maps_class_dir: Path | str, dataset: DatasetClass, progress: Progress = SILENT
) -> Evaluation:
    """Evaluate anybody's maps of a class: `<maps_class_dir>/test/<kind folder>/<id>.tiff`.

    The folder above it, which holds a folder of the class's name, is accepted as well. Every test
    image must have its map, and every map its image.

    Raises:
        DatasetError: maps are missing, surplus, damaged, or of the wrong shape; or see
            `evaluate_maps`.
    """
    folder = maps_class_dir = Path(maps_class_dir)
    if not (folder / "test").is_dir() and (folder / dataset.name / "test").is_dir():
        folder = folder / dataset.name
    if not (folder / "test").is_dir():
        raise DatasetError(
            f"{maps_class_dir}: expected anomaly maps in {maps_class_dir / 'test'}, got no such "
            "folder; next step: name the folder that holds test/<kind folder>/<id>.tiff"
        )
    paths = find_maps(folder, dataset.test)

    def read(sample: Sample) -> AnomalyMap:
        anomaly_map = read_map(paths[sample])
        if anomaly_map.shape != sample.size:
            raise DatasetError(
                f"{paths[sample]}: expected a map of shape {sample.size} (height, width) like "
                f"{sample.image_path}, got {anomaly_map.shape}"
            )
        return anomaly_map

    return evaluate_maps(dataset.test, read, progress=progress)


def _score(scores: Mapping[str, float] | None, sample: Sample) -> float | None:
    if scores is None:
        return None
    if (key := sample_key(sample)) not in scores:
        raise DatasetError(f"{key}: expected an image score for each test image, got none")
    return scores[key]
