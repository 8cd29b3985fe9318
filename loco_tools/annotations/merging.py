"""Several annotators of one image: choose whose annotations count, and merge their instances."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from loco_tools.annotations.formats.mask_to_shape import bounding_box
from loco_tools.annotations.formats.regions import Annotation, Region, Skipped
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.grouping import linked_groups
from loco_tools.annotations.taxonomy import DefectType

Merge = Literal["latest", "reviewed", "union", "majority"]
"""The rule that chooses which annotations of an image count.

latest: the annotation that was changed last (one by a person before any prediction).
reviewed: the annotation that was changed last among those marked as ground truth or accepted by
    their last review. An image that was annotated but not reviewed is an error.
union: the last annotation of every annotator. Instances of one defect that share a pixel become one
    instance, whose mask is the union of their masks.
majority: the last annotation of every annotator. A pixel belongs to a defect when more than half of
    the annotators of that image marked it as that defect; annotators who drew nothing are counted,
    and one of two is not more than half. Instances are joined as for union, and lose the pixels
    that have no majority.
"""


@dataclass(frozen=True)
class ImageAnnotation:
    """The part of an annotation that belongs to one image of its task.

    Attributes:
        annotation: the annotation of the whole task.
        regions: its regions on this image.
        skipped: what could not be read; the first image of a task has it all.
        verdict: the verdict on the whole image: "good", "anomalous", "unsure", or None.
    """

    annotation: Annotation
    regions: tuple[Region, ...]
    skipped: tuple[Skipped, ...] = ()
    verdict: str | None = None

    @property
    def annotator(self) -> str:
        """Who submitted it; every anonymous annotation counts as a person of its own."""
        return self.annotation.annotator or f"annotation {self.annotation.id}"


@dataclass(frozen=True)
class Instance:
    """One defect instance: its defect, its regions, and their joint mask, (H, W) bool."""

    defect: DefectType
    regions: tuple[Region, ...]
    mask: Mask

    @property
    def area_px(self) -> int:
        """Number of pixels of the mask."""
        return int(np.count_nonzero(self.mask))


def choose_annotations(
    annotations: Sequence[ImageAnnotation], merge: Merge
) -> tuple[ImageAnnotation, ...]:
    """The annotations of one image that count, oldest first; empty when none was reviewed."""
    ordered = sorted(annotations, key=lambda a: (not a.annotation.predicted, a.annotation.time))
    if merge == "reviewed":
        ordered = [item for item in ordered if item.annotation.reviewed]
    if merge in {"latest", "reviewed"}:
        return tuple(ordered[-1:])
    last = {item.annotator: item for item in ordered}
    return tuple(item for item in ordered if last[item.annotator] is item)


def merge_instances(
    by_annotator: Sequence[Sequence[Instance]], merge: Merge
) -> tuple[list[Instance], list[tuple[Region, str]]]:
    """Merge the instances of one image by the rule `merge`.

    Args:
        by_annotator: the instances that each annotator drew; empty for one who drew nothing.
        merge: see `Merge`.

    Returns:
        The merged instances, and the regions without any majority, each with the reason.
    """
    instances = [instance for drawn in by_annotator for instance in drawn]
    if merge not in {"union", "majority"}:
        return instances, []
    links = [
        (first, second)
        for first, second, _ in overlaps([instance.mask for instance in instances])
        if instances[first].defect == instances[second].defect
    ]
    merged, outvoted = [], []
    for group in linked_groups(len(instances), links):
        members = [instances[index] for index in group]
        defect = members[0].defect
        regions = tuple(region for member in members for region in member.regions)
        mask: Mask = np.logical_or.reduce([member.mask for member in members])
        if merge == "majority":
            votes = np.zeros(mask.shape, dtype=np.uint16)
            for drawn in by_annotator:
                masks = [instance.mask for instance in drawn if instance.defect == defect]
                votes += np.logical_or.reduce(masks) if masks else 0
            mask &= votes * 2 > len(by_annotator)
        if mask.any():
            merged.append(Instance(defect, regions, mask))
        else:
            annotators = f"{len(by_annotator)} annotators"
            reason = f"outvoted: no pixel of it was marked by more than half of {annotators}"
            outvoted += [(region, reason) for region in regions]
    return merged, outvoted


def overlaps(masks: Sequence[Mask]) -> Iterator[tuple[int, int, int]]:
    """Every pair of masks that share pixels: their indices, and the number of shared pixels."""
    boxes = [bounding_box(mask) for mask in masks]
    for first, second in combinations(range(len(masks)), 2):
        top, left, bottom, right = (
            (max if edge < 2 else min)(boxes[first][edge], boxes[second][edge]) for edge in range(4)
        )
        if top < bottom and left < right:
            inside = slice(top, bottom), slice(left, right)
            shared = int(np.count_nonzero(masks[first][inside] & masks[second][inside]))
            if shared:
                yield first, second, shared
