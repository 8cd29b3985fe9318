"""The tree of a class in MVTec LOCO AD or AutoVI layout: its images, its masks and its faults."""

from loco_tools.datasets.mvtec_loco import CONFIG, KIND_FOLDERS
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
from loco_tools.wording import plural


def check_loco(tree: ClassTree, report: Report) -> Contents:
    """List and check an MVTec LOCO AD tree (Bergmann et al., IJCV 2022), which our classes have.

        <class>/train/good/000.png
        <class>/validation/good/000.png
        <class>/test/{good,logical_anomalies,structural_anomalies}/000.png
        <class>/ground_truth/{logical_anomalies,structural_anomalies}/000/000.png, 001.png, ...
        <class>/defects_config.json

    The ground truth of an image is a folder with one mask per defect. Each mask has one positive
    pixel value; `defects_config.json` maps it to the name of the defect and its saturation
    threshold. Both kinds of anomalies are expected, since metrics average them. Names that are not
    contiguous numbers are warnings, since every tool can read them.
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
    for folder in (*tree.folders_in("test"), *tree.folders_in("ground_truth")):
        if name_of(folder) not in ("good", *KIND_FOLDERS):
            report.add(
                "unknown_kind",
                folder,
                expected=f"only the folders good, {' and '.join(KIND_FOLDERS)} in a class with "
                f"{CONFIG}",
                found=f"a folder {name_of(folder)}",
                next_step="rename it, or remove it",
            )
    return _check_tree(tree, list(KIND_FOLDERS), report)


def check_autovi(tree: ClassTree, report: Report) -> Contents:
    """List and check an AutoVI tree (Carvalho et al., 2024, doi 10.5281/zenodo.10459003).

        <class>/train/good/0000.png
        <class>/test/{good,<defect>,multiple}/0000.png
        <class>/ground_truth/<defect>/0000/0000.png, 0001.png, ...
        <class>/defects_config.json

    It is the layout of MVTec LOCO AD with one folder per defect type, as in MVTec AD, in place of
    the two kinds of anomalies, and without a validation split. Images with several defect types lie
    in `multiple`. The name of a defect comes from the pixel value of its mask, not from its folder.
    Masks may be stored as RGB or RGBA. The layout does not record which defects are logical, so all
    of them count as structural.
    """
    require_good(tree, report, validation=False)
    kinds = [name_of(path) for path in tree.folders_in("test") if name_of(path) != "good"]
    if not kinds:
        require_folder(
            tree, "test/<defect>", report, code="missing_kind", next_step="add anomalous images"
        )
    for folder in tree.folders_in("ground_truth"):
        if name_of(folder) in (*kinds, "good"):
            continue
        if any(tree.images_in(of_image) for of_image in tree.folders_in(folder)):
            report.add(
                "mask_without_image",
                folder,
                expected=f"images of these masks in test/{name_of(folder)}",
                found="no such folder",
                next_step="rename one of the two",
            )
    kinds = [kind for kind in kinds if not check_good_name(tree, kind, report)]
    return _check_tree(tree, kinds, report)


def _check_tree(tree: ClassTree, kinds: list[str], report: Report) -> Contents:
    contents = Contents(images=good_images(tree))
    known = ["train/good", "validation/good", "test/good"]
    for kind in kinds:
        known += [f"test/{kind}", f"ground_truth/{kind}", *_add_kind(tree, kind, contents, report)]
    check_good_masks(tree, report)
    check_unused(tree, contents, known, report)
    for folder in ("train/good", "validation/good", "test/good", *(f"test/{k}" for k in kinds)):
        check_numbers([tree.images_in(folder)], report)
    check_numbers((tree.images_in(folder) for folder in known if folder.count("/") == 2), report)
    return contents


def _add_kind(tree: ClassTree, kind: str, contents: Contents, report: Report) -> list[str]:
    """Add the images of a kind and their masks to `contents`; returns the folders of masks."""
    folder = f"ground_truth/{kind}"
    images = {stem_of(path): path for path in tree.images_in(f"test/{kind}")}
    contents.images += [ImageFile(path, "test", kind) for path in images.values()]
    if images:
        require_masks(tree, folder, report)
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
        if masks := tree.images_in(orphan):
            report.add(
                "mask_without_image",
                orphan,
                expected=f"the image of these masks, test/{kind}/{name_of(orphan)}.png",
                found=f"{plural(len(masks), 'mask')} and no image",
                next_step="add the image, or remove the folder",
            )
    return [path for path in mask_folders if name_of(path) in images]
