"""How much work a cell is: what time and memory grow with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loco_tools.datasets import load
from loco_tools.datasets.sample import DatasetClass, Images
from loco_tools.datasets.splits import hold_out_validation

if TYPE_CHECKING:
    from loco_tools.benchmark.cell.work import Job


@dataclass(frozen=True)
class Workload:
    """A cell's size: images, the pixels of one as the detector sees it, and of all test images."""

    train_images: int
    test_images: int
    input_pixels: float
    test_megapixels: float


class Classes:
    """The classes of a run, each read once; images themselves are not."""

    def __init__(self) -> None:
        self._classes: dict[Path, DatasetClass] = {}
        self._sizes: dict[Path, list[tuple[int, int]]] = {}

    def workload(self, job: "Job", methods: Mapping[str, "Job"]) -> Workload:
        """The size of a cell.

        Args:
            job: the cell.
            methods: the jobs of the same class and seed by label; an ensemble sees the largest of
                its members' inputs.
        """
        dataset = self._dataset(job)
        sizes = self._sizes[job.class_path]
        sources = [methods[label] for label in job.members if label in methods] or [job]
        return Workload(
            train_images=len(dataset.train),
            test_images=len(dataset.test),
            input_pixels=max(_input_pixels(source, sizes) for source in sources),
            test_megapixels=sum(h * w for h, w in Images(dataset.test).sizes()) / 1e6,
        )

    def _dataset(self, job: "Job") -> DatasetClass:
        path = job.class_path
        if path not in self._classes:
            self._classes[path] = hold_out_validation(load(path), seed=job.stamp.seed)
            self._sizes[path] = Images(self._classes[path].train).sizes()
        return self._classes[path]


def _input_pixels(job: "Job", sizes: list[tuple[int, int]]) -> float:
    """Height times width at which a single detector will see the images."""
    from loco_tools.methods import method_class
    from loco_tools.methods.batch import input_size

    stamp = job.stamp
    size = {} if stamp.input_size_px is None else {"size_px": stamp.input_size_px}
    settings = {"resize": stamp.resize, **size, **stamp.overrides}
    config = method_class(job.method).configure(stamp.preset, settings)
    height, width = input_size(sizes, config.size_px, config.resize)
    return float(height * width)
