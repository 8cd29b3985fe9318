"""Checking the tree of a class in MVTec LOCO AD or AutoVI layout."""

from loco_tools.datasets.mvtec_loco import KIND_FOLDERS
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
    check_files,
    check_good_masks,
    check_numbers,
    check_strays,
    good_images,
    require_folder,
    require_good,
)
from loco_tools.wording import plural


def check_loco(tree: ClassTree, report: Report) -> Contents:
    """Check an MVTec LOCO AD tree, which has both kinds of anomalies, since metrics average them.

    Names that are not contiguous numbers are warnings, since every tool can read them.
    """
    require_good(tree, report, validation=True)
    for kind in KIND_FOLDERS:
        require_folder(
            tree,
            f"test/{kind}",
            report,
            code="missing_kind",
            next_step="add such images; a class of structural defects fits the MVTec AD layout",
        )
    return _check_tree(tree, list(KIND_FOLDERS), report)


def check_autovi(tree: ClassTree, report: Report) -> Contents:
    """Check an AutoVI tree, which has a folder per defect type and no validation split."""
    require_good(tree, report, validation=False)
    kinds = [name_of(path) for path in tree.folders_in("test") if name_of(path) != "good"]
    if not kinds:
        require_folder(
            tree, "test/<defect>", report, code="missing_kind", next_step="add anomalous images"
        )
    return _check_tree(tree, kinds, report)


def _check_tree(tree: ClassTree, kinds: list[str], report: Report) -> Contents:
    contents = Contents(images=good_images(tree))
    known = ["train/good", "validation/good", "test/good"]
    for kind in kinds:
        known += [f"test/{kind}", f"ground_truth/{kind}", *_add_kind(tree, kind, contents, report)]
    check_good_masks(tree, report)
    check_strays(tree, known, report)
    check_files(tree, contents, report)
    for folder in ("train/good", "validation/good", "test/good", *(f"test/{k}" for k in kinds)):
        check_numbers([tree.images_in(folder)], report)
    check_numbers((tree.images_in(folder) for folder in known if folder.count("/") == 2), report)
    return contents


def _add_kind(tree: ClassTree, kind: str, contents: Contents, report: Report) -> list[str]:
    """Add the images of a kind and their masks to `contents`; returns the folders of masks."""
    folder = f"ground_truth/{kind}"
    images = {stem_of(path): path for path in tree.images_in(f"test/{kind}")}
    contents.images += [ImageFile(path, "test", kind) for path in images.values()]
    if images and not tree.has(folder):
        require_folder(tree, folder, report, code="missing_folder", next_step="add the masks there")
    for stem, path in images.items():
        files = tree.images_in(f"{folder}/{stem}")
        masks = [file for file in files if file.lower().endswith(".png")]
        contents.masks += [MaskFile(mask, path) for mask in masks]
        for file in files:
            if file not in masks:
                report.add(
                    "mask_not_png",
                    file,
                    expected="a mask in PNG format",
                    found=name_of(file),
                    next_step="write it as PNG from its source; other formats change the values or "
                    "are not read at all",
                )
        if not masks and tree.has(folder):
            report.add(
                "image_without_mask",
                path,
                expected=f"its masks in {folder}/{stem}/000.png and on",
                found="an empty folder" if tree.has(f"{folder}/{stem}") else "no such folder",
                next_step="add one mask per defect, or move the image to test/good",
            )
    mask_folders = tree.folders_in(folder)
    for orphan in (path for path in mask_folders if name_of(path) not in images):
        report.add(
            "mask_without_image",
            orphan,
            expected=f"an image test/{kind}/{name_of(orphan)}.png",
            found=f"{plural(len(tree.images_in(orphan)), 'mask')} and no image",
            next_step="add the image, or remove the folder",
        )
    return mask_folders
