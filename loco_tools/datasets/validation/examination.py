"""Examining a class folder: its images and masks, and every fault, by the same rules for all.

`load`, `validate`, `show` and `bench` differ only in how far images are read.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from loco_tools import files
from loco_tools.datasets.images import largest_value
from loco_tools.datasets.mvtec_loco import CONFIG, KIND_FOLDERS, is_readable
from loco_tools.datasets.reading import every_nth, in_order
from loco_tools.datasets.sample import Layout
from loco_tools.datasets.validation.audit import check_audit
from loco_tools.datasets.validation.class_tree import (
    ClassTree,
    Contents,
    is_image,
    name_of,
    read_tree,
)
from loco_tools.datasets.validation.defects_config import check_config, check_use
from loco_tools.datasets.validation.file_inspection import Inspection, hash_of_pixels, inspect_file
from loco_tools.datasets.validation.findings import Findings, Report
from loco_tools.datasets.validation.layout_ad import check_ad
from loco_tools.datasets.validation.layout_loco import check_autovi, check_loco
from loco_tools.datasets.validation.names import (
    check_clashes,
    check_enough,
    check_names,
    check_splits,
)
from loco_tools.datasets.validation.pixels import (
    check_images,
    check_masks,
    check_repeats,
    check_sizes,
)
from loco_tools.datasets.validation.sidecar import check_sidecar, read_sidecar
from loco_tools.errors import DatasetError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import listed, plural

_CHECKS = {"mvtec_loco": check_loco, "autovi": check_autovi, "mvtec_ad": check_ad}

Depth = Literal["masks", "headers", "pixels"]
"""What is read besides the masks: the headers of anomalous images; the headers of all images, and
damage of JPEG files; or all pixels."""

_PEAKS = 32
"""Number of 16-bit images that are decoded where only headers are read otherwise."""


@dataclass(frozen=True)
class Examination:
    """A class folder, and what was found in it.

    Attributes:
        tree: all its files.
        layout: its layout; "unknown" if it is no class.
        contents: its images and masks; empty if it is no class.
        inspections: what is known of every mask, and of images as far as they were read.
        report: every fault.
    """

    tree: ClassTree
    layout: Layout | Literal["unknown"]
    contents: Contents
    inspections: Mapping[str, Inspection]
    report: Report

    @property
    def findings(self) -> Findings:
        """Every fault, sorted."""
        return Findings(self.tree.root, self.layout, self.report.findings())


def examine(
    folder: Path, depth: Depth, progress: Progress = SILENT, *, compare_pixels: bool = False
) -> Examination:
    """Examine a class folder. Nothing in it makes this function raise.

    Args:
        folder: the folder; its path is absolute.
        depth: how far images are read. Masks are always decoded.
        progress: advances by one per file.
        compare_pixels: whether images that occur twice are found by their pixels, which decodes all
            images; at "pixels" they always are, otherwise by their files.
    """
    report = Report()
    tree = read_tree(folder, report)
    layout = recognise_layout(tree)
    if layout == "unknown":
        _report_no_class(tree, report)
        return Examination(tree, layout, Contents(), {}, report)
    contents = _CHECKS[layout](tree, report)
    check_splits(tree, contents, report)
    check_names(contents, folder.name, report)
    check_clashes(tree, contents, report)
    inspections = _inspect_files(tree, contents, layout, depth, progress)
    if depth == "headers":
        images = [image.path for image in contents.images]
        (_add_pixel_digests if compare_pixels else _add_digests)(folder, images, inspections)
        _add_peaks(folder, images, inspections)
    records = read_sidecar(folder, report)
    check_masks(contents.masks, inspections, layout, report)
    if layout != "mvtec_ad" and (entries := check_config(folder, report)) is not None:
        check_use(contents.masks, inspections, entries, report)
    if layout != "mvtec_ad" and contents.masks and not is_readable(folder / CONFIG):
        report.refuse(CONFIG)
    check_enough(contents, records, report)
    if depth != "masks":
        views = {image: record.get("view") for image, record in records.items()}
        check_images(contents.images, inspections, layout, report)
        check_sizes(contents.images, inspections, views, report)
        check_repeats(contents.images, inspections, report)
        check_sidecar(folder, contents.images, inspections, records, report)
    if depth == "pixels":
        check_audit(tree, inspections, report)
    return Examination(tree, layout, contents, inspections, report)


def recognise_layout(tree: ClassTree) -> Layout | Literal["unknown"]:
    """The layout of a folder, "unknown" if it is no class.

    The first match counts:

    - unknown: there is neither a folder `test` nor an image in `train/good`;
    - MVTec LOCO AD: there is a `test/logical_anomalies` or a `test/structural_anomalies`;
    - AutoVI: the masks of each image lie in a folder (`ground_truth/<defect>/<image>/`);
    - MVTec LOCO AD: there is a `defects_config.json`;
    - MVTec AD: everything else.
    """
    if not tree.has("test") and not tree.images_in("train/good"):
        return "unknown"
    if any(tree.has(f"test/{kind}") for kind in KIND_FOLDERS):
        return "mvtec_loco"
    if any(tree.folders_in(defect) for defect in tree.folders_in("ground_truth")):
        return "autovi"
    return "mvtec_loco" if CONFIG in tree.files else "mvtec_ad"


def _inspect_files(
    tree: ClassTree, contents: Contents, layout: Layout, depth: Depth, progress: Progress
) -> dict[str, Inspection]:
    """Inspect every mask, and images as far as asked, on several threads."""
    with_masks = {mask.image for mask in contents.masks}
    images = [i.path for i in contents.images if depth != "masks" or i.path in with_masks]
    tasks: list[tuple[str, str | None]] = [(path, None) for path in images]
    tasks += [(mask.path, mask.image) for mask in contents.masks]

    def inspect(task: tuple[str, str | None]) -> Inspection:
        path, image_of_mask = task
        return inspect_file(
            tree.root / path,
            is_mask=image_of_mask is not None,
            in_colour=layout == "autovi",
            decode=depth == "pixels",
            find_damage=depth != "masks",
            like=None if image_of_mask is None else tree.root / image_of_mask,
        )

    inspections: dict[str, Inspection] = {}
    with progress.task(f"{tree.root.name}: examining", len(tasks)) as advance:
        for (path, _), inspection in zip(tasks, in_order(inspect, tasks), strict=True):
            inspections[path] = inspection
            advance(1)
    return inspections


def _add_pixel_digests(
    root: Path, images: Sequence[str], inspections: dict[str, Inspection]
) -> None:
    """Give images of equal pixels equal digests; damaged ones get none."""

    def digest_of(path: str) -> str:
        try:
            return hash_of_pixels(root / path)
        except DatasetError:
            return ""  # bench and validate say so where they decode it

    whole = [path for path in images if inspections[path].fault is None]
    for path, digest in zip(whole, in_order(digest_of, whole), strict=True):
        inspections[path] = replace(inspections[path], digest=digest)


def _add_digests(root: Path, images: Sequence[str], inspections: dict[str, Inspection]) -> None:
    """Give equal files equal digests.

    Few files are read: those of equal size, and of these only parts unless the parts are equal.
    """
    groups: list[list[str]] = [[path for path in images if inspections[path].fault is None]]
    for key in (_file_size, _hash_of_parts, files.sha256_of):
        keyed: defaultdict[tuple[int, Any], list[str]] = defaultdict(list)
        for number, group in enumerate(groups):
            for path in group:
                try:
                    keyed[number, key(root / path)].append(path)
                except OSError:
                    continue  # it was removed just now, or cannot be read: reported as damaged
        groups = [group for group in keyed.values() if len(group) > 1]
    for group in groups:
        for path in group:
            inspections[path] = replace(inspections[path], digest=f"file {group[0]}")


def _file_size(path: Path) -> int:
    return path.stat().st_size


def _hash_of_parts(path: Path) -> bytes:
    """A hash of three parts of a file of 4 KiB each: its begin, its middle and its end."""
    hashed = hashlib.sha256()
    with files.open_regular(path) as stream:
        size = path.stat().st_size
        for start in (0, size // 2, max(0, size - 4096)):
            stream.seek(start)
            hashed.update(stream.read(4096))
    return hashed.digest()


def _add_peaks(root: Path, images: Sequence[str], inspections: dict[str, Inspection]) -> None:
    """Add the largest values of 16-bit images: of some, and of all if some have few levels."""
    deep = [path for path in images if inspections[path].mode.startswith("16-bit")]

    def add(paths: Iterable[str]) -> None:
        for path in paths:
            try:
                peak = largest_value(root / path)
            except DatasetError:
                continue  # its damage is found where it is decoded
            inspections[path] = replace(inspections[path], peak=peak)

    some = [deep[index] for index in every_nth(len(deep), _PEAKS)]
    add(some)
    if any((inspections[path].peak or 0) < 4096 for path in some):
        add(path for path in deep if inspections[path].peak is None)


def _report_no_class(tree: ClassTree, report: Report) -> None:
    """Report what an unknown folder lacks, and which folders in it are classes."""
    classes = [
        folder
        for folder in tree.folders_in("")
        if tree.has(f"{folder}/test") or tree.images_in(f"{folder}/train/good")
    ]
    inside = [name_of(path) for path in (*tree.folders_in(""), *tree.files_in(""))]
    images = plural(sum(is_image(path) for path in tree.files), "image")
    report.add(
        "no_class",
        ".",
        expected="a class in MVTec LOCO AD, MVTec AD or AutoVI layout: train/good, test/good, "
        "test/<kind>, ground_truth/<kind>",
        found=f"neither a test folder nor images in train/good, but {images} below "
        f"{listed(inside) or 'nothing'}",
        next_step=f"name one of its classes: {', '.join(classes)}"
        if classes
        else "move good images to train/good and test/good, others to test/<kind>",
    )
