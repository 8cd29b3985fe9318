"""How well several annotators of the same images agree, and which images to look at again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools.annotations.counted_annotations import instances_of, submissions_of
from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.image_references import Storages
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.grouping import Group
from loco_tools.annotations.merging import Instance, Submission, counted
from loco_tools.annotations.orientation import stored_image
from loco_tools.annotations.photographs import Photograph, Photographs, find_sessions
from loco_tools.annotations.taxonomy import Taxonomy, load_taxonomy
from loco_tools.errors import AnnotationError
from loco_tools.progress import SILENT, Progress

LOOK_AGAIN_IOU = 0.7
"""Images on which two annotators overlap less than this in some defect are listed."""

_KINDS = ("good", "structural", "logical")
_EACH_DEFECT: Group = "label"


@dataclass(frozen=True)
class DefectAgreement:
    """IoU of one defect, a mean over `pairs`: two annotators of one image, of whom one marked it.

    `missed` of them have an IoU of 0: the other one did not mark it, or elsewhere.
    """

    defect: str
    pairs: int
    mean_iou: float
    lowest_iou: float
    missed: int


@dataclass(frozen=True)
class KindAgreement:
    """Two annotators' kinds of the images that both annotated.

    `agreement` is the share with one kind for both; `kappa` is Cohen's, None where it is undefined,
    because both called all images the same (Cohen 1960).
    """

    annotators: tuple[str, str]
    images: int
    agreement: float
    kappa: float | None


@dataclass(frozen=True)
class LookAgain:
    """An image on which people differ: the kind that each saw, the worst defect and its IoU."""

    image: str
    kinds: Mapping[str, str]
    defect: str | None
    iou: float | None


@dataclass(frozen=True)
class AgreementReport:
    """What `agreement` found; `images` counts those with two annotators or more.

    `kappa` is the mean of the pairs' kappas, weighted by their images; None where none is defined.
    """

    images: int
    defects: tuple[DefectAgreement, ...]
    kinds: tuple[KindAgreement, ...]
    kappa: float | None
    look_again: tuple[LookAgain, ...]

    def describe(self) -> str:
        """A few lines for a person."""
        if not self.images:
            return "agreement: no image was annotated by two people"
        kappa = "undefined" if self.kappa is None else f"{self.kappa:.2f}"
        lines = [f"agreement on {self.images} images: Cohen's kappa of kinds {kappa}"]
        lines += [
            f"  {d.defect}: mean IoU {d.mean_iou:.2f}, lowest {d.lowest_iou:.2f}, {d.missed} of "
            f"{d.pairs} pairs do not overlap"
            for d in self.defects
        ]
        lines += [
            f"  {' and '.join(k.annotators)}: same kind for {k.agreement:.0%} of {k.images} images"
            f", kappa {'undefined' if k.kappa is None else format(k.kappa, '.2f')}"
            for k in self.kinds
        ]
        return "\n".join([*lines, *(f"look again: {_said(look)}" for look in self.look_again)])

    def as_record(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        return asdict(self)


def agreement(
    export: Path,
    *,
    sessions: Sequence[Path] = (),
    taxonomy: Taxonomy | None = None,
    alpha_threshold: int = 128,
    storages: Storages | None = None,
    look_again_iou: float = LOOK_AGAIN_IOU,
    progress: Progress = SILENT,
) -> AgreementReport:
    """Compare the annotators of an export, image by image.

    The last submitted annotation of each annotator counts; predictions do not. The masks of one
    defect are compared as one, whatever its instances. An image is good for an annotator who marked
    nothing, logical for one who marked a logical defect, else structural.

    Args:
        export: full JSON or JSON-MIN.
        sessions: folders of the photographs, if the export does not lie in its session.
        taxonomy: of the class; default: the one of its name.
        alpha_threshold: brush pixels of at least this opacity (1-255) belong to the mask.
        storages: folders by the beginning of the image references that they stand for.
        look_again_iou: list images with a defect whose annotators overlap less than this.
        progress: where to report to.

    Raises:
        AnnotationError: the export and the session do not fit together, or a label is unknown.
    """
    content = read_export(export)
    photographs = Photographs(find_sessions(content, sessions), storages)
    taxonomy = taxonomy or load_taxonomy(photographs.class_name)
    submissions = submissions_of(content, photographs)
    voters = {photo: counted(submitted, "union") for photo, submitted in submissions.items()}
    shared = {photo: people for photo, people in voters.items() if len(people) > 1}
    compared = []
    with progress.task("agreement", len(shared)) as advance:
        for photograph, people in shared.items():
            compared.append(_compared(photograph, people, taxonomy, alpha_threshold))
            advance(1)
    kinds = _kind_agreements([image.kinds for image in compared])
    return AgreementReport(
        images=len(compared),
        defects=_defect_agreements(compared),
        kinds=kinds,
        kappa=_mean_kappa(kinds),
        look_again=_look_again(compared, look_again_iou),
    )


def cohen_kappa(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Cohen's kappa of two raters' names for the same things.

    Observed agreement above the one expected by chance, as a share of what there is above chance
    (Cohen, "A coefficient of agreement for nominal scales", 1960). None where chance alone explains
    full agreement: both used one and the same name throughout.

    >>> cohen_kappa(["good", "good", "logical", "logical"], ["good", "good", "logical", "good"])
    0.5
    """
    count = len(one)
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / count
    expected = sum(one.count(name) * other.count(name) for name in {*one, *other}) / count**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


@dataclass(frozen=True)
class _Compared:
    """One image: the kind by annotator, and the IoU of each pair that marked a defect."""

    image: str
    kinds: dict[str, str]
    ious: tuple[tuple[str, float], ...]


def _compared(
    photograph: Photograph,
    people: Sequence[Submission],
    taxonomy: Taxonomy,
    alpha_threshold: int,
) -> _Compared:
    image = stored_image(photograph.path)
    drawn: dict[str, list[Instance]] = {}
    for submission in people:
        drawn[submission.annotator], _ = instances_of(
            submission, image, taxonomy, group=_EACH_DEFECT, alpha_threshold=alpha_threshold
        )
    masks = [{i.defect.name: i.mask for i in instances} for instances in drawn.values()]
    ious = tuple(
        (name, _iou(one.get(name), other.get(name)))
        for one, other in combinations(masks, 2)
        for name in sorted({*one, *other})
    )
    kinds = {person: _kind(instances) for person, instances in drawn.items()}
    return _Compared(str(photograph), kinds, ious)


def _kind(instances: Iterable[Instance]) -> str:
    return max((i.defect.kind for i in instances), key=_KINDS.index, default="good")


def _iou(one: Mask | None, other: Mask | None) -> float:
    """Intersection over union of two masks that are not empty; 0 where one is missing."""
    if one is None or other is None:
        return 0.0
    return int(np.count_nonzero(one & other)) / int(np.count_nonzero(one | other))


def _defect_agreements(compared: Sequence[_Compared]) -> tuple[DefectAgreement, ...]:
    found: dict[str, list[float]] = {}
    for image in compared:
        for name, iou in image.ious:
            found.setdefault(name, []).append(iou)
    return tuple(
        DefectAgreement(name, len(ious), sum(ious) / len(ious), min(ious), ious.count(0.0))
        for name, ious in sorted(found.items())
    )


def _kind_agreements(kinds: Sequence[Mapping[str, str]]) -> tuple[KindAgreement, ...]:
    people = sorted({person for image in kinds for person in image})
    made = []
    for pair in combinations(people, 2):
        both = [image for image in kinds if image.keys() >= set(pair)]
        if both:
            one, other = ([image[person] for image in both] for person in pair)
            same = sum(a == b for a, b in zip(one, other, strict=True)) / len(both)
            made.append(KindAgreement(pair, len(both), same, cohen_kappa(one, other)))
    return tuple(made)


def _mean_kappa(kinds: Sequence[KindAgreement]) -> float | None:
    known = [(k.kappa, k.images) for k in kinds if k.kappa is not None]
    images = sum(count for _, count in known)
    return sum(kappa * count for kappa, count in known) / images if images else None


def _look_again(compared: Sequence[_Compared], below: float) -> tuple[LookAgain, ...]:
    """Images with different kinds first, then by their lowest IoU."""
    if not 0 <= below <= 1:
        raise AnnotationError(f"IoU to look again below: expected 0 to 1, got {below}")
    found = []
    for image in compared:
        defect, iou = min(image.ious, key=lambda pair: pair[1], default=(None, None))
        if len(set(image.kinds.values())) > 1 or (iou is not None and iou < below):
            found.append(LookAgain(image.image, image.kinds, defect, iou))
    return tuple(
        sorted(found, key=lambda look: (len(set(look.kinds.values())) == 1, look.iou, look.image))
    )


def _said(look: LookAgain) -> str:
    kinds = ", ".join(f"{person} {kind}" for person, kind in look.kinds.items())
    worst = f"; {look.defect} overlaps with IoU {look.iou:.2f}" if look.iou is not None else ""
    return f"{look.image} ({kinds}){worst}"
