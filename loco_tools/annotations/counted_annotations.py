"""What was marked on each photograph: the annotations that count, and their defect instances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loco_tools.annotations.formats.regions import Export, Region, Skipped, Task
from loco_tools.annotations.formats.shapes import SHAPES_WITH_AREA, Mask
from loco_tools.annotations.grouping import Group, grouped
from loco_tools.annotations.merging import Instance, Merge, Submission, counted, merged
from loco_tools.annotations.orientation import StoredImage, stored_image
from loco_tools.annotations.photographs import Photograph, Photographs, shortened
from loco_tools.annotations.taxonomy import DefectType, Taxonomy
from loco_tools.errors import AnnotationError


@dataclass(frozen=True)
class Marks:
    """The submissions for one photograph that count, the others, and everybody who made one."""

    counted: tuple[Submission, ...]
    set_aside: tuple[Submission, ...]
    annotators: tuple[str, ...]

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every region that counts."""
        return tuple(region for submission in self.counted for region in submission.regions)


@dataclass(frozen=True)
class Outcome:
    """What became of the regions of one photograph.

    `skipped` could not become a mask; `left_out` could have, but did not count, for the reason
    that stands beside each.
    """

    instances: tuple[Instance, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    left_out: tuple[tuple[Region, str], ...] = ()


def submissions_of(export: Export, photographs: Photographs) -> dict[Photograph, list[Submission]]:
    """For each photograph with submitted annotations, all of them in the order of the export.

    Raises:
        AnnotationError: the export names images that no session has, or that two have.
    """
    shown = photographs.shown_by(export)
    found: dict[Photograph, list[Submission]] = {}
    for place, task in enumerate(export.tasks):
        _check_strays(task, shown[place])
        for index, (reference, photograph) in enumerate(shown[place].items()):
            for annotation in task.annotations:
                regions = tuple(r for r in annotation.regions if r.image == reference)
                skipped = annotation.skipped if index == 0 else ()
                verdict = annotation.verdicts.get(index)
                made = Submission(annotation, regions, skipped, verdict)
                found.setdefault(photograph, []).append(made)
    return found


def marks_of(
    export: Export, photographs: Photographs, merge: Merge = "latest"
) -> dict[Photograph, Marks]:
    """For each photograph with a submitted annotation, what counts of it.

    Raises:
        AnnotationError: the export names images that no session has, or that two have, or only
            reviewed annotations count and some photographs have none.
    """
    marks, unreviewed = {}, []
    for photograph, submitted in submissions_of(export, photographs).items():
        chosen = counted(submitted, merge)
        if not chosen:
            unreviewed.append(str(photograph))
        aside = tuple(one for one in submitted if all(one is not c for c in chosen))
        people = {s.annotation.annotator for s in submitted if s.annotation.annotator is not None}
        marks[photograph] = Marks(chosen, aside, tuple(sorted(people)))
    if unreviewed:
        raise AnnotationError(
            f"{export.path}: {len(unreviewed)} photographs were annotated, but no annotation of "
            f"them was reviewed: {shortened(unreviewed)}; next step: mark one as ground truth, or "
            "merge by another rule"
        )
    return marks


def _check_strays(task: Task, shown: Mapping[str | None, Photograph]) -> None:
    for region in (region for annotation in task.annotations for region in annotation.regions):
        if region.image not in shown:
            raise AnnotationError(
                f"task {task.id}, region {region.id}: lies on image number {region.item_index} of "
                f"the task, which shows {len(shown)}; next step: export again"
            )


def check_marks(
    export: Export, photographs: Photographs, marks: Mapping[Photograph, Marks], taxonomy: Taxonomy
) -> None:
    """Refuse what would make the class wrong, before anything is written.

    Raises:
        AnnotationError: a photograph of an anomalous part was not annotated, a region has no
            label or one that the taxonomy lacks, or a training image has a defect.
    """
    unmarked = [str(p) for p in photographs.all if p.shot.kind != "good" and p not in marks]
    if unmarked:
        raise AnnotationError(
            f"{export.path}: {len(unmarked)} photographs of anomalous parts have no submitted "
            f"annotation: {shortened(unmarked)}; next step: annotate them (submit an empty "
            "annotation where the defect cannot be seen), and export again"
        )
    for marked in marks.values():
        for region in marked.regions:
            if region.shape in SHAPES_WITH_AREA:
                defect_of(region, taxonomy)
    spoilt = [str(p) for p, m in marks.items() if p.shot.split != "test" and m.regions]
    if spoilt:
        raise AnnotationError(
            f"{export.path}: defects are marked on {len(spoilt)} photographs for training or "
            f"validation, which have to be good: {shortened(spoilt)}; next step: take them again, "
            "or remove the regions"
        )


def defect_of(region: Region, taxonomy: Taxonomy) -> DefectType:
    """The defect that a region is labelled as.

    Raises:
        AnnotationError: it has no label, several, or one that the taxonomy lacks.
    """
    if len(region.labels) != 1:
        got = ", ".join(region.labels) or "none"
        raise AnnotationError(
            f"task {region.task}, region {region.id}: expected one label, got {got}; next step: "
            "correct it in Label Studio, and export again"
        )
    try:
        return taxonomy.defect(region.labels[0])
    except AnnotationError as error:
        raise AnnotationError(f"task {region.task}, region {region.id}: {error}") from error


def outcome_of(
    photograph: Photograph,
    marked: Marks | None,
    taxonomy: Taxonomy,
    *,
    merge: Merge,
    group: Group,
    alpha_threshold: int,
) -> Outcome:
    """The defect instances of one photograph, and what did not become one.

    Raises:
        AnnotationError: regions were drawn on an image of another size, or none of what was drawn
            could become a mask, so that the photograph would pass for good.
    """
    if marked is None:
        return Outcome()
    drawn, skipped = [], []
    image = stored_image(photograph.path)
    for submission in marked.counted:
        instances, faults = instances_of(
            submission, image, taxonomy, group=group, alpha_threshold=alpha_threshold
        )
        drawn.append(instances)
        skipped += faults
    if skipped and not any(drawn):
        raise AnnotationError(
            f"{photograph}: nothing that was drawn could become a mask ({skipped[0].type}: "
            f"{skipped[0].reason}), so it would pass for good; next step: mark it again"
        )
    made, outvoted = merged(drawn, merge)
    aside = [(r, _why_aside(s, merge)) for s in marked.set_aside for r in s.regions]
    return Outcome(tuple(made), tuple(skipped), (*outvoted, *aside))


def instances_of(
    submission: Submission,
    image: StoredImage,
    taxonomy: Taxonomy,
    *,
    group: Group,
    alpha_threshold: int,
) -> tuple[list[Instance], list[Skipped]]:
    """The defect instances of one submission on the stored image, and what could not become one.

    Raises:
        AnnotationError: a region was drawn on an image of another size, or has no known label.
    """
    skipped = list(submission.skipped)
    usable: list[tuple[Region, Mask]] = []
    for region in submission.regions:
        if not image.fits(region):
            raise AnnotationError(image.misfit(region))
        try:
            usable.append((region, image.mask_of(region, alpha_threshold=alpha_threshold)))
        except AnnotationError as error:
            skipped.append(Skipped(region.task, region.id, region.type, str(error)))
    regions = [region for region, _ in usable]
    return [
        _instance([usable[place] for place in places], taxonomy)
        for places in grouped(regions, submission.annotation.relations, group)
    ], skipped


def _instance(members: Sequence[tuple[Region, Mask]], taxonomy: Taxonomy) -> Instance:
    mask: Mask = np.logical_or.reduce([mask for _, mask in members])
    regions = tuple(region for region, _ in members)
    return Instance(defect_of(regions[0], taxonomy), regions, mask)


def _why_aside(submission: Submission, merge: Merge) -> str:
    if submission.annotation.predicted:
        return "a prediction, where a person's annotation counts"
    if merge == "reviewed":
        return "of an annotation that is not the last reviewed one"
    return "of an older annotation"
