"""The content of an export: tasks, their annotations, and the regions drawn in them.

Every annotation format is read to the classes of this module.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loco_tools.annotations.formats.shapes import Mask, extent_percent, rasterise
from loco_tools.errors import AnnotationError
from loco_tools.wording import plural

TaskId = int | str

_FAR_PERCENT = 150


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the export that did not become a region or a mask, with the reason."""

    task: TaskId
    region: str | None
    type: str | None
    reason: str


@dataclass(frozen=True, eq=False, slots=True)
class Region:
    """One region drawn on one image.

    Attributes:
        task: id of the task that it was drawn in.
        id: its own id.
        type: its type in the export's own words ("polygonlabels", "magicwand").
        shape: kind of the geometry, one of `shapes.SHAPES_WITH_AREA`, or another word for a
            geometry without an area ("keypoint").
        labels: names of the defects that it was labelled as.
        group: number that regions of one defect instance share.
        value: the geometry as `shapes.rasterise` reads it; lengths are percentages of the image's
            width or height.
        size: (H, W) of the original image in pixels, None where the export does not give it.
        image: reference to the image as the task gives it, None where the task gives none.
        item_index: index of the image among the images of its task, from 0.
        parent: id of the region under which it was put in Label Studio's list.
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
        """Its pixels on an image of `size` (H, W): an (H, W) bool mask that is not empty.

        Raises:
            AnnotationError: the geometry has no area, is malformed, or covers no pixel.
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
    """The annotation that one annotator submitted for one task.

    Attributes:
        id: its id.
        annotator: id or e-mail of the person; "prediction <model>" for a prediction.
        time: when it was last changed, as ISO 8601; "" if unknown.
        regions: the regions drawn in it.
        skipped: what could not be read.
        reviewed: marked as ground truth, or accepted by the last reviewer.
        predicted: made by a model, not by a person.
        verdicts: the verdict on each whole image ("good", "anomalous", "unsure"), by the image's
            index in the task.
        relations: pairs of the ids of related regions.
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
    """One task: its data as imported, references of its images, and its submitted annotations.

    `left_out` lists the regions of cancelled annotations, of drafts, and of predictions that were
    not asked for.
    """

    id: TaskId
    data: Mapping[str, Any]
    images: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    left_out: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """A whole export; `skipped` holds what could not be read outside of any annotation."""

    path: Path
    tasks: tuple[Task, ...]
    skipped: tuple[Skipped, ...]

    def regions(self) -> list[Region]:
        """Every region, in the order of the export."""
        return [r for task in self.tasks for a in task.annotations for r in a.regions]

    def region_count(self) -> int:
        """Number of regions in the file, readable or not, whether they count or not."""
        return len(self.regions()) + len(self.all_skipped()) + len(self.left_out())

    def all_skipped(self) -> list[Skipped]:
        """Everything that could not be read, inside and outside of annotations."""
        inside = [s for task in self.tasks for a in task.annotations for s in a.skipped]
        return [*self.skipped, *inside]

    def not_counted(self) -> str:
        """What could not be read or did not count, by reason; "" if there is nothing."""
        return summarise([*self.all_skipped(), *self.left_out()])

    def left_out(self) -> list[Skipped]:
        """Every region of a cancelled annotation, a draft, or a prediction not asked for."""
        return [skip for task in self.tasks for skip in task.left_out]


def summarise(skipped: Sequence[Skipped]) -> str:
    """The three most frequent reasons, each with its number of regions; "" if there is none."""
    reasons = Counter(skip.reason.partition("; next step")[0] for skip in skipped)
    return "; ".join(f"{plural(n, 'region')}: {why}" for why, n in reasons.most_common(3))


def percent_notes(regions: Sequence[Region]) -> list[str]:
    """Notes on coordinates that are hardly percentages of the image: pixels, or fractions."""
    extents = [e for r in regions if (e := extent_percent(r.shape, r.value)) is not None]
    far = [most for least, most in extents if most > _FAR_PERCENT or least < 100 - _FAR_PERCENT]
    near = [most for least, most in extents if least >= 0 and most <= 1]
    notes = []
    if far:
        notes.append(
            f"{plural(len(far), 'region')} of {len(extents)} reach far beyond 100 % of the image "
            f"(up to {max(far):.0f} %): are these pixels? expected percentages of the image"
        )
    if near:
        notes.append(
            f"{plural(len(near), 'region')} of {len(extents)} lie within the first 1 % of the "
            "image: are these fractions? expected percentages of the image"
        )
    return notes
