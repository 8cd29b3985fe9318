"""What was marked on each photograph: the annotation that counts, and its defect instances."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loco_tools.annotations.photographs import Photograph, Photographs, shortened
from loco_tools.annotations.regions import Annotation, Export, Region, Skipped, Task
from loco_tools.annotations.shapes import SHAPES_WITH_AREA, Mask
from loco_tools.annotations.taxonomy import DefectType, Taxonomy
from loco_tools.datasets.images import image_size
from loco_tools.errors import AnnotationError


@dataclass(frozen=True)
class Marks:
    """The annotation of one photograph that counts, and who else submitted one."""

    annotation: Annotation
    regions: tuple[Region, ...]
    annotators: tuple[str, ...]


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


def marks_of(export: Export, photographs: Photographs) -> dict[Photograph, Marks]:
    """For each photograph with a submitted annotation, the one that was changed last.

    Raises:
        AnnotationError: the export names images that no session has, or that two have.
    """
    shown = photographs.shown_by(export)
    found: dict[Photograph, list[tuple[Annotation, tuple[Region, ...]]]] = {}
    for place, task in enumerate(export.tasks):
        _check_strays(task, shown[place])
        for reference, photograph in shown[place].items():
            for annotation in task.annotations:
                regions = tuple(r for r in annotation.regions if r.image == reference)
                found.setdefault(photograph, []).append((annotation, regions))
    marks = {}
    for photograph, submitted in found.items():
        last, regions = sorted(submitted, key=lambda pair: pair[0].time)[-1]
        people = {one.annotator for one, _ in submitted if one.annotator is not None}
        marks[photograph] = Marks(last, regions, tuple(sorted(people)))
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


def instances_of(
    photograph: Photograph, marked: Marks | None, taxonomy: Taxonomy, *, alpha_threshold: int
) -> tuple[list[Instance], list[Skipped]]:
    """The defect instances of one photograph, and what could not become one.

    Regions with the same label and the same group number are one instance; a region without a
    number is one by itself.

    Raises:
        AnnotationError: regions were drawn on an image of another size, or none of what was drawn
            could become a mask, so that the photograph would pass for good.
    """
    if marked is None:
        return [], []
    skipped = list(marked.annotation.skipped)
    grouped: dict[tuple[str, int | None, int], list[tuple[Region, Mask]]] = {}
    size = image_size(photograph.path) if marked.regions else (0, 0)
    for place, region in enumerate(marked.regions):
        _check_size(photograph, region, size)
        try:
            mask = region.mask(size, alpha_threshold=alpha_threshold)
        except AnnotationError as error:
            skipped.append(Skipped(region.task, region.id, region.type, str(error)))
            continue
        alone = place if region.group is None else -1
        name = defect_of(region, taxonomy).name
        grouped.setdefault((name, region.group, alone), []).append((region, mask))
    if skipped and not grouped:
        raise AnnotationError(
            f"{photograph}: nothing that was drawn could become a mask ({skipped[0].type}: "
            f"{skipped[0].reason}), so it would pass for good; next step: mark it again"
        )
    return [
        Instance(
            taxonomy.defect(name),
            tuple(region for region, _ in members),
            np.logical_or.reduce([mask for _, mask in members]),
        )
        for (name, _, _), members in grouped.items()
    ], skipped


def _check_size(photograph: Photograph, region: Region, size: tuple[int, int]) -> None:
    if region.size is not None and region.size != size:
        raise AnnotationError(
            f"task {region.task}, region {region.id}: was drawn on an image of {region.size[1]} x "
            f"{region.size[0]} pixels, but {photograph.path} has {size[1]} x {size[0]}; next step: "
            "annotate the photographs of the session themselves"
        )
