"""The annotations of each image that count, and the defect instances drawn in them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loco_tools.annotations.formats.regions import Export, Region, Skipped, percent_notes
from loco_tools.annotations.formats.shapes import SHAPES_WITH_AREA, Mask
from loco_tools.annotations.grouping import Group, group_regions
from loco_tools.annotations.merging import (
    ImageAnnotation,
    Instance,
    Merge,
    choose_annotations,
    merge_instances,
)
from loco_tools.annotations.orientation import StoredImage, stored_image
from loco_tools.annotations.session_images import SessionImage, SessionImages
from loco_tools.annotations.taxonomy import DefectType, Taxonomy
from loco_tools.errors import AnnotationError
from loco_tools.wording import listed, plural

_LISTED = 10


@dataclass(frozen=True)
class CountedAnnotations:
    """The annotations of one image that count, those that do not, and the ids of all annotators."""

    counted: tuple[ImageAnnotation, ...]
    not_counted: tuple[ImageAnnotation, ...]
    annotators: tuple[str, ...]

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every region that counts."""
        return tuple(region for annotation in self.counted for region in annotation.regions)


@dataclass(frozen=True)
class ImageInstances:
    """The defect instances of one image, and the regions that are in none of them.

    Attributes:
        instances: the instances.
        skipped: regions that could not become a mask.
        left_out: regions that did not count, each with the reason.
        unread: what could not be read in annotations that did not count.
    """

    instances: tuple[Instance, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    left_out: tuple[tuple[Region, str], ...] = ()
    unread: tuple[Skipped, ...] = ()


def annotations_by_image(
    export: Export, images: SessionImages
) -> dict[SessionImage, list[ImageAnnotation]]:
    """All submitted annotations of each image that has any, in the order of the export.

    Raises:
        AnnotationError: the export names images that no session has, or that two have, or a region
            lies on an image that its task does not show.
    """
    shown = images.shown_by(export)
    by_image: dict[SessionImage, list[ImageAnnotation]] = {}
    for number, task in enumerate(export.tasks):
        for region in (region for annotation in task.annotations for region in annotation.regions):
            if region.image not in shown[number]:
                raise AnnotationError(
                    f"task {task.id}, region {region.id}: lies on image number "
                    f"{region.item_index} of the task, which shows {len(shown[number])}; next "
                    "step: export again"
                )
        for index, (reference, image) in enumerate(shown[number].items()):
            by_image.setdefault(image, []).extend(
                ImageAnnotation(
                    annotation,
                    regions=tuple(r for r in annotation.regions if r.image == reference),
                    skipped=annotation.skipped if index == 0 else (),
                    verdict=annotation.verdicts.get(index),
                )
                for annotation in task.annotations
            )
    return {image: annotations for image, annotations in by_image.items() if annotations}


def count_annotations(
    export: Export, images: SessionImages, merge: Merge = "latest"
) -> dict[SessionImage, CountedAnnotations]:
    """Choose the annotations that count, for each image with a submitted annotation.

    Raises:
        AnnotationError: see `annotations_by_image`; or only reviewed annotations count, and some
            annotated images have none.
    """
    by_image, unreviewed = {}, []
    for image, annotations in annotations_by_image(export, images).items():
        counted = choose_annotations(annotations, merge)
        if not counted:
            unreviewed.append(str(image))
        others = tuple(item for item in annotations if all(item is not c for c in counted))
        people = {item.annotation.annotator for item in annotations} - {None}
        by_image[image] = CountedAnnotations(counted, others, tuple(sorted(map(str, people))))
    if unreviewed:
        raise AnnotationError(
            f"{export.path}: expected a reviewed annotation of every annotated photograph, got "
            f"none of {plural(len(unreviewed), 'photograph')}: {listed(unreviewed, _LISTED)}; next "
            "step: mark one as ground truth, or merge by another rule"
        )
    return by_image


def check_annotations(
    export: Export,
    images: SessionImages,
    counted: Mapping[SessionImage, CountedAnnotations],
    taxonomy: Taxonomy,
) -> None:
    """Refuse annotations that would make the class wrong, before anything is written.

    Raises:
        AnnotationError: a photograph of an anomalous part was not annotated, a region has no
            label or one that the taxonomy lacks, or a training image has a defect.
    """
    missing = [str(i) for i in images.all if i.shot.kind != "good" and i not in counted]
    if missing:
        not_counted = export.not_counted()
        raise AnnotationError(
            f"{export.path}: expected a submitted annotation of every photograph of an anomalous "
            f"part, got none of {plural(len(missing), 'photograph')}: {listed(missing, _LISTED)}"
            f"{f' (not counted: {not_counted})' if not_counted else ''}; "
            "next step: annotate them (submit an empty annotation where the defect cannot be "
            "seen), and export again"
        )
    for annotations in counted.values():
        for region in annotations.regions:
            if region.shape in SHAPES_WITH_AREA:
                defect_of(region, taxonomy)
    spoilt = [str(i) for i, c in counted.items() if i.shot.split != "test" and c.regions]
    if spoilt:
        raise AnnotationError(
            f"{export.path}: expected no defects on photographs for training or validation, got "
            f"defects on {plural(len(spoilt), 'photograph')}: {listed(spoilt, _LISTED)}; next "
            "step: take them again, or remove the regions"
        )


def defect_of(region: Region, taxonomy: Taxonomy) -> DefectType:
    """The defect that a region is labelled as.

    Raises:
        AnnotationError: the region has no label, several, or one that the taxonomy lacks.
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


def make_instances(
    image: SessionImage,
    annotations: CountedAnnotations | None,
    taxonomy: Taxonomy,
    *,
    merge: Merge,
    group: Group,
    alpha_threshold: int,
) -> ImageInstances:
    """The defect instances of one image, merged over its annotators.

    Args:
        image: the image.
        annotations: its annotations; None for an image that was not annotated.
        taxonomy: the taxonomy of the class.
        merge: how annotators are merged, see `merging.Merge`.
        group: how regions form instances, see `grouping.Group`.
        alpha_threshold: brush pixels of at least this opacity (1-255) belong to the mask.

    Raises:
        AnnotationError: regions were drawn on an image of another size, or none of the drawn
            regions could become a mask, so that the image would count as good.
    """
    if annotations is None:
        return ImageInstances()
    by_annotator, skipped = [], []
    pixel_grid = stored_image(image.path)
    for annotation in annotations.counted:
        instances, faults = instances_of(
            annotation, pixel_grid, taxonomy, group=group, alpha_threshold=alpha_threshold
        )
        by_annotator.append(instances)
        skipped += faults
    # what could not be read in a task of several images may have been drawn on any of them
    unread = [s for a in annotations.counted for s in a.annotation.skipped]
    lost = skipped or (unread if image.shot.kind != "good" else [])
    if lost and not any(by_annotator):
        hints = percent_notes([r for a in annotations.counted for r in a.regions])
        reasons = "; ".join([f"{lost[0].type}: {lost[0].reason}", *hints])
        raise AnnotationError(
            f"{image}: nothing that was drawn could become a mask ({reasons}), so it would count "
            "as good; next step: annotate it again"
        )
    merged, left_out = merge_instances(by_annotator, merge)
    not_read: list[Skipped] = []
    for annotation in annotations.not_counted:
        if annotation.annotation.predicted:
            reason = "belongs to a prediction, where a person's annotation counts"
        elif merge == "reviewed":
            reason = "belongs to an annotation that is not the last reviewed one"
        else:
            reason = "belongs to an older annotation"
        left_out += [(region, reason) for region in annotation.regions]
        not_read += [
            Skipped(s.task, s.region, s.type, f"{reason} ({s.reason})") for s in annotation.skipped
        ]
    return ImageInstances(tuple(merged), tuple(skipped), tuple(left_out), tuple(not_read))


def instances_of(
    annotation: ImageAnnotation,
    image: StoredImage,
    taxonomy: Taxonomy,
    *,
    group: Group,
    alpha_threshold: int,
) -> tuple[list[Instance], list[Skipped]]:
    """The defect instances of one annotation on the stored image, and the regions without a mask.

    Raises:
        AnnotationError: a region was drawn on an image of another size, or has no known label.
    """
    skipped = list(annotation.skipped)
    regions: list[Region] = []
    masks: list[Mask] = []
    for region in annotation.regions:
        if not image.fits(region):
            raise AnnotationError(image.misfit(region))
        try:
            masks.append(image.mask_of(region, alpha_threshold=alpha_threshold))
            regions.append(region)
        except AnnotationError as error:
            skipped.append(Skipped(region.task, region.id, region.type, str(error)))
    instances = []
    for members in group_regions(regions, annotation.annotation.relations, group):
        mask: Mask = np.logical_or.reduce([masks[index] for index in members])
        defect = defect_of(regions[members[0]], taxonomy)
        instances.append(Instance(defect, tuple(regions[index] for index in members), mask))
    return instances, skipped
