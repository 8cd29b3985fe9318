"""The tree of a class in MVTec AD layout: its images, its masks and its faults."""

import re

from loco_tools.datasets.validation.class_tree import (
    ClassTree,
    Contents,
    ImageFile,
    MaskFile,
    name_of,
    stem_of,
)
from loco_tools.datasets.validation.findings import Report
from loco_tools.datasets.validation.names import (
    check_good_masks,
    check_good_name,
    check_numbers,
    check_unused,
    good_images,
    require_folder,
    require_good,
    require_masks,
)

_READ_BY_OFFICIAL_TOOL = re.compile(r"[A-Za-z_]+")


def check_ad(tree: ClassTree, report: Report) -> Contents:
    """List and check an MVTec AD tree (Bergmann et al., CVPR 2019).

        <class>/train/good/000.png
        <class>/validation/good/000.png                 optional
        <class>/test/{good,<defect>}/000.png
        <class>/ground_truth/<defect>/000_mask.png      or 000.png; any positive value counts

    A defect folder that the official evaluator skips because of its name (`scratch2`) is a warning,
    since other tools read it, including loco-tools.
    """
    require_good(tree, report, validation=False)
    kinds = [name_of(path) for path in tree.folders_in("test") if name_of(path) != "good"]
    marked = [name_of(path) for path in tree.folders_in("ground_truth")]
    if not kinds:
        report.add(
            "missing_kind",
            "test",
            expected="a folder of images for each defect, next to test/good",
            found="none",
            next_step="add anomalous images, for example test/scratch/000.png with "
            "ground_truth/scratch/000_mask.png",
        )
    kinds = [kind for kind in kinds if not check_good_name(tree, kind, report)]
    contents = Contents(images=good_images(tree))
    for kind in (name for name in marked if name not in (*kinds, "good")):
        if tree.images_in(f"ground_truth/{kind}"):
            report.add(
                "mask_without_image",
                f"ground_truth/{kind}",
                expected=f"images of these masks in test/{kind}",
                found="no such folder",
                next_step="rename one of the two, or remove the folder",
            )
    for kind in kinds:
        _check_kind(tree, kind, contents, report)
    folders = ["train/good", "validation/good", "test/good", *(f"test/{kind}" for kind in kinds)]
    check_good_masks(tree, report)
    check_unused(tree, contents, [*folders, *(f"ground_truth/{kind}" for kind in kinds)], report)
    check_numbers((tree.images_in(folder) for folder in folders), report)
    return contents


def _check_kind(tree: ClassTree, kind: str, contents: Contents, report: Report) -> None:
    folder = f"ground_truth/{kind}"
    images = tree.images_in(f"test/{kind}")
    require_folder(
        tree, f"test/{kind}", report, code="missing_kind", next_step="add images, or remove it"
    )
    if images:
        require_masks(tree, folder, report)
    if not _READ_BY_OFFICIAL_TOOL.fullmatch(kind):
        report.add(
            "folder_name",
            f"test/{kind}",
            expected="letters and underscores in the name of a defect",
            found=kind,
            next_step="rename it here and in ground_truth; MVTec's own evaluator skips it silently",
        )
    masks = {stem_of(path): path for path in reversed(tree.images_in(folder))}
    for path in images:
        contents.images.append(ImageFile(path, "test", kind))
        stem = stem_of(path)
        pair = [masks.pop(name) for name in (f"{stem}_mask", stem) if name in masks]
        contents.masks += [MaskFile(mask, path) for mask in pair]
        if len(pair) != 1 and tree.has(folder):
            report.add(
                "two_masks" if pair else "image_without_mask",
                path,
                expected=f"one mask in {folder}, named {stem}_mask.png or {stem}.png",
                found=" and ".join(map(name_of, pair)) or "none",
                next_step="remove one of them"
                if pair
                else "add it, or move the image to test/good",
            )
    for path in masks.values():
        contents.masks.append(MaskFile(path, ""))
        report.add(
            "mask_without_image",
            path,
            expected=f"an image of its name in the test folder {kind}",
            found="none",
            next_step="add the image, or remove the mask",
        )
