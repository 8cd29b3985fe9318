"""Inter-annotator agreement, and the images that should be reviewed because annotators differ."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools.annotations.counted_annotations import annotations_by_image, instances_of
from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.image_references import Storages
from loco_tools.annotations.grouping import Group
from loco_tools.annotations.merging import ImageAnnotation, choose_annotations
from loco_tools.annotations.orientation import stored_image
from loco_tools.annotations.session_images import SessionImage, SessionImages, find_sessions
from loco_tools.annotations.taxonomy import Taxonomy, load_taxonomy
from loco_tools.errors import AnnotationError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import plural

LOOK_AGAIN_IOU = 0.7
"""Images on which the masks of two annotators have a lower IoU in some defect are listed."""

_KINDS = ("good", "structural", "logical")
_ONE_MASK_PER_DEFECT: Group = "label"


@dataclass(frozen=True)
class DefectAgreement:
    """IoU of the masks of one defect, over all pairs of annotators of one image.

    Attributes:
        defect: its name.
        pairs: number of pairs in which at least one annotator marked the defect.
        mean_iou: mean IoU over the pairs.
        lowest_iou: lowest IoU.
        missed: number of pairs with an IoU of 0: only one annotator marked the defect, or both
            marked it in different places.
    """

    defect: str
    pairs: int
    mean_iou: float
    lowest_iou: float
    missed: int


@dataclass(frozen=True)
class KindAgreement:
    """Agreement of two annotators on the kind (good, structural, logical) of common images.

    Attributes:
        annotators: the two annotators.
        images: number of images that both annotated.
        agreement: share of these images to which both gave the same kind.
        kappa: Cohen's kappa, see `cohen_kappa`; None where it is undefined.
    """

    annotators: tuple[str, str]
    images: int
    agreement: float
    kappa: float | None


@dataclass(frozen=True)
class LookAgain:
    """An image on which annotators differ: its kind for each of them, and the lowest IoU."""

    image: str
    kinds: Mapping[str, str]
    defect: str | None
    iou: float | None


@dataclass(frozen=True)
class AgreementReport:
    """The agreement of the annotators of an export.

    Attributes:
        images: number of images with two or more annotators.
        defects: agreement on the masks of each defect.
        kinds: agreement of each pair of annotators on the kind of the images.
        kappa: mean of the pairs' kappas, weighted by their numbers of images; None where none is
            defined.
        look_again: the images that should be reviewed, the worst first.
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
        lines = [f"agreement on {plural(self.images, 'image')}: Cohen's kappa of kinds {kappa}"]
        lines += [
            f"  {d.defect}: mean IoU {d.mean_iou:.2f}, lowest {d.lowest_iou:.2f}, {d.missed} of "
            f"{plural(d.pairs, 'pair')} without overlap"
            for d in self.defects
        ]
        lines += [
            f"  {' and '.join(k.annotators)}: same kind for {k.agreement:.0%} of "
            f"{plural(k.images, 'image')}"
            f", kappa {'undefined' if k.kappa is None else format(k.kappa, '.2f')}"
            for k in self.kinds
        ]
        for look in self.look_again:
            by_annotator = ", ".join(f"{person} {kind}" for person, kind in look.kinds.items())
            line = f"look again: {look.image} ({by_annotator})"
            if look.iou is not None:
                line += f"; {look.defect} overlaps with IoU {look.iou:.2f}"
            lines.append(line)
        return "\n".join(lines)

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

    The last submitted annotation of each annotator counts; predictions do not count. All instances
    of one defect are compared as one mask. An image is good for an annotator who marked nothing,
    logical for one who marked a logical defect, and otherwise structural.

    Args:
        export: the export, in any format of `annotations.formats.FORMATS`.
        sessions: folders of the photographs, if the export does not lie in its session.
        taxonomy: the taxonomy of the class; by default the one with the name of the class.
        alpha_threshold: brush pixels of at least this opacity (1-255) belong to the mask.
        storages: local folders by the prefix of the image references that they stand for.
        look_again_iou: list images with a defect whose masks have a lower IoU, 0-1.
        progress: where progress is reported.

    Returns:
        Cohen's kappa, the IoU of each defect, and the images that should be reviewed.

    Raises:
        AnnotationError: the export and the session do not fit together, or a label is unknown.
    """
    if not 0 <= look_again_iou <= 1:
        raise AnnotationError(f"IoU to look again below: expected 0 to 1, got {look_again_iou}")
    content = read_export(export)
    images = SessionImages(find_sessions(content, sessions), storages)
    taxonomy = taxonomy or load_taxonomy(images.class_name)
    by_image = {
        image: choose_annotations(annotations, "union")
        for image, annotations in annotations_by_image(content, images).items()
    }
    shared = {image: people for image, people in by_image.items() if len(people) > 1}
    compared = []
    with progress.task("agreement", len(shared)) as advance:
        for image, people in shared.items():
            compared.append(_compare_image(image, people, taxonomy, alpha_threshold))
            advance(1)
    return _summarise(compared, look_again_iou)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Cohen's kappa of two raters who classified the same items.

    kappa = (p_o - p_e) / (1 - p_e), where p_o is the observed agreement and p_e the agreement
    expected by chance (Cohen, "A coefficient of agreement for nominal scales", 1960). It is None
    where p_e = 1: both raters put all items into one and the same class.

    >>> cohen_kappa(["good", "good", "logical", "logical"], ["good", "good", "logical", "good"])
    0.5
    """
    count = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / count
    expected = sum(first.count(name) * second.count(name) for name in {*first, *second}) / count**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


@dataclass(frozen=True)
class _Comparison:
    """One image: its kind by annotator, and the IoU of each pair and defect that one marked."""

    image: str
    kinds: dict[str, str]
    ious: tuple[tuple[str, float], ...]


def _compare_image(
    image: SessionImage,
    people: Sequence[ImageAnnotation],
    taxonomy: Taxonomy,
    alpha_threshold: int,
) -> _Comparison:
    pixel_grid = stored_image(image.path)
    kinds, masks = {}, []
    for annotation in people:
        instances, _ = instances_of(
            annotation,
            pixel_grid,
            taxonomy,
            group=_ONE_MASK_PER_DEFECT,
            alpha_threshold=alpha_threshold,
        )
        worst = max((i.defect.kind for i in instances), key=_KINDS.index, default="good")
        kinds[annotation.annotator] = worst
        masks.append({i.defect.name: i.mask for i in instances})
    ious = []
    for first, second in combinations(masks, 2):
        for name in sorted({*first, *second}):
            if name in first and name in second:
                union = np.count_nonzero(first[name] | second[name])
                ious.append((name, int(np.count_nonzero(first[name] & second[name])) / int(union)))
            else:
                ious.append((name, 0.0))
    return _Comparison(str(image), kinds, tuple(ious))


def _summarise(compared: Sequence[_Comparison], look_again_iou: float) -> AgreementReport:
    ious_by_defect: dict[str, list[float]] = {}
    for image in compared:
        for name, iou in image.ious:
            ious_by_defect.setdefault(name, []).append(iou)
    defects = tuple(
        DefectAgreement(name, len(ious), sum(ious) / len(ious), min(ious), ious.count(0.0))
        for name, ious in sorted(ious_by_defect.items())
    )

    kinds = []
    for pair in combinations(sorted({person for image in compared for person in image.kinds}), 2):
        both = [image.kinds for image in compared if image.kinds.keys() >= set(pair)]
        if both:
            first, second = ([by_person[person] for by_person in both] for person in pair)
            same = sum(a == b for a, b in zip(first, second, strict=True)) / len(both)
            kinds.append(KindAgreement(pair, len(both), same, cohen_kappa(first, second)))
    kappas = [(pair.kappa, pair.images) for pair in kinds if pair.kappa is not None]
    kappa = sum(k * n for k, n in kappas) / sum(n for _, n in kappas) if kappas else None

    look_again = []
    for image in compared:
        defect, lowest = min(image.ious, key=lambda pair: pair[1], default=(None, None))
        same_kind = len(set(image.kinds.values())) == 1
        if not same_kind or (lowest is not None and lowest < look_again_iou):
            look = LookAgain(image.image, image.kinds, defect, lowest)
            look_again.append((same_kind, lowest, image.image, look))
    look_again.sort(key=lambda entry: entry[:3])
    ordered = tuple(look for *_, look in look_again)
    return AgreementReport(len(compared), defects, tuple(kinds), kappa, ordered)
