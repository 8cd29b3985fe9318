"""Checking the tree of a class in MVTec LOCO AD or AutoVI layout."""

from loco_tools.datasets.mvtec_loco import KIND_FOLDERS
from loco_tools.datasets.validation.class_tree import (
    ClassTree,
    Contents,
    ImageFile,
    MaskFile,
    is_image,
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


def check_loco(tree: ClassTree, report: Report) -> Contents:
    """Check an MVTec LOCO AD tree; both kinds of anomalies are wanted, since figures average them.

    Names that are no contiguous numbers are warnings: every tool reads them.
    """
    require_good(tree, report, validation=True)
    for kind in KIND_FOLDERS:
        require_folder(
            tree,
            f"test/{kind}",
            report,
            code="missing_kind",
            mend="add such images; a class of structural defects alone fits the MVTec AD layout",
        )
    return _check(tree, list(KIND_FOLDERS), report)


def check_autovi(tree: ClassTree, report: Report) -> Contents:
    """Check an AutoVI tree: a folder per defect type, and no validation split."""
    require_good(tree, report, validation=False)
    kinds = [name_of(path) for path in tree.folders_in("test") if name_of(path) != "good"]
    if not kinds:
        require_folder(
            tree, "test/<defect>", report, code="missing_kind", mend="add anomalous images"
        )
    return _check(tree, kinds, report)


def _check(tree: ClassTree, kinds: list[str], report: Report) -> Contents:
    contents = Contents(images=good_images(tree))
    known = ["train/good", "validation/good", "test/good"]
    for kind in kinds:
        known += [f"test/{kind}", f"ground_truth/{kind}", *_masks(tree, kind, contents, report)]
    check_good_masks(tree, report)
    check_strays(tree, known, report)
    check_files(tree, contents, report)
    for folder in ("train/good", "validation/good", "test/good", *(f"test/{k}" for k in kinds)):
        check_numbers([tree.images_in(folder)], report)
    check_numbers((tree.images_in(folder) for folder in known if folder.count("/") == 2), report)
    return contents


def _masks(tree: ClassTree, kind: str, contents: Contents, report: Report) -> list[str]:
    """The images of a kind and their masks, into `contents`; the folders of masks come back."""
    folder = f"ground_truth/{kind}"
    images = {stem_of(path): path for path in tree.images_in(f"test/{kind}")}
    contents.images += [ImageFile(path, "test", kind) for path in images.values()]
    if images and not tree.has(folder):
        require_folder(tree, folder, report, code="missing_folder", mend="add the masks there")
    for stem, path in images.items():
        masks = [mask for mask in tree.files_in(f"{folder}/{stem}") if _is_mask(mask, report)]
        contents.masks += [MaskFile(mask, path) for mask in masks]
        if not masks and tree.has(folder):
            report.add(
                "image_without_mask",
                path,
                expected=f"its masks in {folder}/{stem}/000.png and on",
                found="an empty folder" if tree.has(f"{folder}/{stem}") else "no such folder",
                mend="add one mask per defect, or move the image to test/good",
            )
    folders = tree.folders_in(folder)
    for orphan in (path for path in folders if name_of(path) not in images):
        report.add(
            "mask_without_image",
            orphan,
            expected=f"an image test/{kind}/{name_of(orphan)}.png",
            found=f"{len(tree.images_in(orphan))} masks and no image",
            mend="add the image, or remove the folder",
        )
    return folders


def _is_mask(path: str, report: Report) -> bool:
    if not is_image(path):
        return False
    if not path.lower().endswith(".png"):
        report.add(
            "mask_not_png",
            path,
            expected="a mask in PNG format",
            found=name_of(path),
            mend="draw it again as PNG; other formats blur the values or are not read at all",
        )
        return False
    return True
