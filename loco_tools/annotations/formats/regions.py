"""What an export holds, once read: tasks, their annotations, and the regions drawn in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loco_tools.annotations.formats.shapes import Mask, rasterise
from loco_tools.errors import AnnotationError

TaskId = int | str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the export that became nothing, and why."""

    task: TaskId
    region: str | None
    type: str | None
    reason: str


@dataclass(frozen=True, eq=False, slots=True)
class Region:
    """One thing drawn on one image.

    `type` is the export's word for it ("polygonlabels", "magicwand"), `shape` the kind of geometry
    in `value`. `size` is (H, W) of the original image, None where the export does not tell.
    `image` is the reference to the image as the task gives it, None where it gives none. `parent`
    is the id of the region that it was put under in Label Studio's list.
    """

    task: TaskId
    id: str | None
    type: str
    shape: str
    labels: tuple[str, ...]
    group: int | None
    value: Mapping[str, Any] = field(repr=False)
    size: tuple[int, int] | None
    image: str | None
    item_index: int
    parent: str | None = None

    def mask(self, size: tuple[int, int], *, alpha_threshold: int = 128) -> Mask:
        """Its pixels on an image of `size` (H, W), (H, W) bool, at least one of them.

        Raises:
            AnnotationError: the geometry is no area, is malformed, or covers no pixel.
        """
        height, width = size
        mask = rasterise(
            self.shape, self.value, height=height, width=width, alpha_threshold=alpha_threshold
        )
        if not mask.any():
            raise AnnotationError("covers no pixel of the image")
        return mask


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one person submitted for one task.

    `time` is when, as ISO 8601, "" if unknown. `reviewed`: marked as ground truth, or accepted by a
    reviewer. `predicted`: made by a model, not by a person. `verdicts` are what
    whole images were called ("good", "anomalous", "unsure"), by their index in the task;
    `relations` are pairs of region ids.
    """

    id: str | None
    annotator: str | None
    time: str
    regions: tuple[Region, ...]
    skipped: tuple[Skipped, ...]
    reviewed: bool = False
    predicted: bool = False
    verdicts: Mapping[int, str] = field(default_factory=dict)
    relations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its data as imported, the images it shows, and its submitted annotations.

    `left_out` lists the regions of cancelled annotations, drafts and predictions.
    """

    id: TaskId
    data: Mapping[str, Any]
    images: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    left_out: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """A whole export; `skipped` holds only what lies outside of any annotation."""

    path: Path
    tasks: tuple[Task, ...]
    skipped: tuple[Skipped, ...]

    def regions(self) -> list[Region]:
        """Every region, in the order of the export."""
        return [r for task in self.tasks for a in task.annotations for r in a.regions]

    def all_skipped(self) -> list[Skipped]:
        """Everything that the reader could not understand."""
        inside = [s for task in self.tasks for a in task.annotations for s in a.skipped]
        return [*self.skipped, *inside]

    def left_out(self) -> list[Skipped]:
        """Every region of a cancelled annotation, a draft or an unwanted prediction."""
        return [skip for task in self.tasks for skip in task.left_out]
