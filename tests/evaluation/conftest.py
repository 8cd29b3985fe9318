"""Anomaly maps for tests of the evaluation."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loco_tools.datasets.maps import map_path, write_map
from loco_tools.datasets.sample import DatasetClass, Sample
from loco_tools.evaluation import sample_key

MapOf = Callable[[Sample], np.ndarray]


def _noisy_map(sample: Sample) -> np.ndarray:
    rng = np.random.default_rng(sum(sample_key(sample).encode()))
    noise = rng.random(sample.size)
    return np.round(noise + 0.5 * sample.ground_truth(), 1).astype(np.float32)


@pytest.fixture
def noisy_map() -> MapOf:
    """A map that finds about half of each defect, coarsely rounded so that it has many ties."""
    return _noisy_map


@pytest.fixture
def write_maps(tmp_path: Path) -> Callable[..., Path]:
    """Write the maps of all test images, and of validation images when asked for."""

    def write(
        dataset: DatasetClass,
        root: Path | None = None,
        map_of: MapOf = _noisy_map,
        *,
        validation: bool = False,
    ) -> Path:
        root = root or tmp_path / "maps"
        for sample in dataset.test:
            write_map(map_path(root / sample.class_name, sample), map_of(sample))
        for sample in dataset.validation if validation else ():
            path = root / dataset.name / "validation/good" / f"{sample.id}.tiff"
            write_map(path, map_of(sample))
        return root / dataset.name

    return write


@pytest.fixture
def write_sidecar() -> Callable[..., None]:
    """Write the records of images beside a class folder; keys are paths within it."""

    def write(class_dir: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
        lines = [json.dumps({"image": image, **record}) for image, record in records.items()]
        class_dir.with_name(f"{class_dir.name}.jsonl").write_text("\n".join(lines))

    return write
