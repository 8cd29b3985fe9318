"""Several people marked one image: whose marks count, and what they make together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from loco_tools.annotations.formats.mask_to_shape import bounding_box
from loco_tools.annotations.formats.regions import Annotation, Region, Skipped
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.grouping import joined
from loco_tools.annotations.taxonomy import DefectType

Merge = Literal["latest", "reviewed", "union", "majority"]
"""Which annotations of an image count.

latest: the one that was changed last (a person's before any prediction).
reviewed: of those marked as ground truth, or accepted by their last review, the one changed last;
    an image that was annotated but not reviewed is an error.
union: everybody's last one. Instances of one defect that share a pixel are one instance, whose mask
    is all of their pixels.
majority: everybody's last one. A pixel belongs to a defect when more than half of the annotators of
    that image marked it as that defect, counting those who drew nothing; of two who differ, neither
    is more than half. Instances are joined as for union, and lose the pixels that were outvoted.
"""


@dataclass(frozen=True)
class Submission:
    """What one person submitted for one image.

    `skipped` is what could not be read; of a task with several images, the first one has it.
    `verdict` is what the whole image was called ("good", "anomalous", "unsure").
    """

    annotation: Annotation
    regions: tuple[Region, ...]
    skipped: tuple[Skipped, ...] = ()
    verdict: str | None = None

    @property
    def annotator(self) -> str:
        """Who submitted it; each anonymous annotation is a person of its own."""
        return self.annotation.annotator or f"annotation {self.annotation.id}"


@dataclass(frozen=True)
class Instance:
    """One defect instance: its regions together. `mask` is (H, W) bool."""

    defect: DefectType
    regions: tuple[Region, ...]
    mask: Mask

    @property
    def area_px(self) -> int:
        """Marked pixels."""
        return int(np.count_nonzero(self.mask))


def counted(submissions: Sequence[Submission], merge: Merge) -> tuple[Submission, ...]:
    """The submissions of one image that count, oldest first; none when none was reviewed."""
    ordered = sorted(submissions, key=lambda s: (not s.annotation.predicted, s.annotation.time))
    if merge == "reviewed":
        ordered = [submission for submission in ordered if submission.annotation.reviewed]
    if merge in {"latest", "reviewed"}:
        return tuple(ordered[-1:])
    return last_of_each(ordered)


def last_of_each(submissions: Sequence[Submission]) -> tuple[Submission, ...]:
    """The last submission of each annotator, in the order of the submissions."""
    last = {submission.annotator: submission for submission in submissions}
    return tuple(
        submission for submission in submissions if last[submission.annotator] is submission
    )


def merged(
    drawn: Sequence[Sequence[Instance]], merge: Merge
) -> tuple[list[Instance], list[tuple[Region, str]]]:
    """The instances of one image from those of each annotator, as `Merge` says.

    Returns:
        The instances, and the regions that were outvoted altogether, with the votes.
    """
    if merge not in {"union", "majority"}:
        return [instance for instances in drawn for instance in instances], []
    together = [instance for instances in drawn for instance in instances]
    links = [
        (one, other)
        for one, other, _ in overlaps([instance.mask for instance in together])
        if together[one].defect == together[other].defect
    ]
    made, outvoted = [], []
    for places in joined(len(together), links):
        members = [together[place] for place in places]
        regions = tuple(region for member in members for region in member.regions)
        mask: Mask = np.logical_or.reduce([member.mask for member in members])
        if merge == "majority":
            mask &= _majority(drawn, members[0].defect)
        if mask.any():
            made.append(Instance(members[0].defect, regions, mask))
        else:
            reason = f"outvoted: no pixel of it was marked by more than half of {len(drawn)}"
            outvoted += [(region, f"{reason} annotators") for region in regions]
    return made, outvoted


def overlaps(masks: Sequence[Mask]) -> Iterator[tuple[int, int, int]]:
    """Every two masks that share pixels, by their places, and how many pixels they share."""
    boxes = [bounding_box(mask) for mask in masks]
    for one, other in combinations(range(len(masks)), 2):
        top, left, bottom, right = (
            (max if edge < 2 else min)(boxes[one][edge], boxes[other][edge]) for edge in range(4)
        )
        if top < bottom and left < right:
            inside = slice(top, bottom), slice(left, right)
            shared = int(np.count_nonzero(masks[one][inside] & masks[other][inside]))
            if shared:
                yield one, other, shared


def _majority(drawn: Sequence[Sequence[Instance]], defect: DefectType) -> Mask:
    """The pixels that more than half of the annotators marked as the defect."""
    votes = [
        np.logical_or.reduce([instance.mask for instance in instances if instance.defect == defect])
        for instances in drawn
        if any(instance.defect == defect for instance in instances)
    ]
    majority: Mask = np.stack(votes).sum(axis=0, dtype=np.uint16) * 2 > len(drawn)
    return majority
