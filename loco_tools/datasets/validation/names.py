"""Checks of folders and file names that all layouts share."""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from loco_tools.datasets.validation.class_tree import (
    ClassTree,
    Contents,
    ImageFile,
    has_image_suffix,
    is_hidden,
    is_image,
    name_of,
    parent_of,
    stem_of,
)
from loco_tools.datasets.validation.findings import Report
from loco_tools.wording import listed, plural

_NUMBER = re.compile(r"\d{3,}", re.ASCII)


def require_folder(
    tree: ClassTree, folder: str, report: Report, *, code: str, next_step: str
) -> None:
    """Report a folder that is missing or contains no image."""
    if tree.images_in(folder):
        return
    report.add(
        code,
        folder,
        expected="a folder with images",
        found="a folder without images" if tree.has(folder) else "no such folder",
        next_step=next_step,
    )


def require_good(tree: ClassTree, report: Report, *, validation: bool) -> None:
    """Report missing folders of good images; `validation`: whether the layout has that split."""
    for folder, use in (("train/good", "training"), ("test/good", "evaluation")):
        require_folder(
            tree,
            folder,
            report,
            code="missing_folder",
            next_step=f"add good images there; {use} needs them",
        )
    if validation or tree.has("validation"):
        require_folder(
            tree,
            "validation/good",
            report,
            code="missing_validation",
            next_step="move some images of train/good there; otherwise bench holds some out",
        )


def good_images(tree: ClassTree) -> list[ImageFile]:
    """The good images of all splits."""
    return [
        ImageFile(path, split, "good")
        for split in ("train", "validation", "test")
        for path in tree.images_in(f"{split}/good")
    ]


def check_good_masks(tree: ClassTree, report: Report) -> None:
    """Report masks of good images."""
    for path in tree.below("ground_truth/good"):
        if is_image(path):
            report.add(
                "good_with_mask",
                path,
                expected="no masks for good images",
                found="a mask",
                next_step="remove it, or move its image to the folder of its defect",
            )


def check_strays(tree: ClassTree, known: Collection[str], report: Report) -> None:
    """Report folders that are not part of the layout.

    Args:
        tree: the class.
        known: the folders of the layout.
        report: collects the findings.
    """
    roots = {"", "train", "validation", "test", "ground_truth", "ground_truth/good", *known}
    strays = [path for path in tree.folders if path not in roots]
    tops = [path for path in strays if parent_of(path) not in strays]
    for folder in tops:
        images = sum(has_image_suffix(path) for path in tree.below(folder))
        misnamed = parent_of(folder) in ("test", "ground_truth") and not is_hidden(folder)
        report.add(
            "unexpected_folder" if images or misnamed else "stray_folder",
            folder,
            expected="only the folders of the layout",
            found=f"a folder with {plural(images, 'image')}" if images else "another folder",
            next_step="rename it or move it out of the class; other tools read all images",
        )


def check_files(tree: ClassTree, contents: Contents, report: Report) -> None:
    """Report files in folders of the layout that are neither an image nor a mask of it.

    Files in other folders are not reported one by one; `check_strays` reports their folders.
    """
    taken = {file.path for file in contents.images} | {file.path for file in contents.masks}
    allowed = ("defects_config.json", "license.txt", "readme.txt")
    checked = {"", "train", "validation", "test", "ground_truth", *map(parent_of, taken)}
    for path in tree.files:
        if path in taken or path in allowed or parent_of(path) not in checked:
            continue
        report.add(
            "stray_image" if has_image_suffix(path) else "stray_file",
            path,
            expected="only the images and masks of the layout",
            found="a hidden file" if is_hidden(path) else "another file",
            next_step="move it out of the class folder; other tools read every file there",
        )


def check_numbers(folders: Iterable[Sequence[str]], report: Report) -> None:
    """Report names that are not numbers of three digits, and gaps in the numbers from 000.

    Args:
        folders: the files (or folders) of each folder to check.
        report: collects the findings.
    """
    for paths in folders:
        stems = {path: stem_of(path).removesuffix("_mask") for path in paths}
        odd = [name_of(path) for path, stem in stems.items() if not _NUMBER.fullmatch(stem)]
        if odd:
            report.add(
                "odd_name",
                parent_of(paths[0]),
                expected="names of three digits, such as 000.png",
                found=listed(odd),
                next_step="rename them together with their masks; loco-tools reads these names too",
            )
            continue
        numbers = {int(stem) for stem in stems.values()}
        gaps = [f"{n:03d}" for n in range(min(len(numbers), 10**6)) if n not in numbers]
        if gaps:
            report.add(
                "gap_in_numbers",
                parent_of(paths[0]),
                expected=f"numbers from 000 to {len(numbers) - 1:03d}",
                found=f"no {listed(gaps)}",
                next_step="renumber the files together with their masks, or add what is missing",
            )


def check_clashes(tree: ClassTree, report: Report) -> None:
    """Report names that differ only in case, and images that differ only in their suffix."""
    seen: dict[str, str] = {}
    for path in (*tree.folders, *tree.files):
        other = seen.setdefault(f"{parent_of(path)}/{name_of(path).casefold()}", path)
        if other != path:
            report.add(
                "name_case",
                path,
                expected="names that differ in more than case",
                found=f"{name_of(other)} in the same folder",
                next_step="rename one; Windows and macOS keep only one of the two",
            )
    stems: dict[str, str] = {}
    for path in tree.files:
        if not is_image(path):
            continue
        other = stems.setdefault(str(PurePosixPath(path).with_suffix("")), path)
        if other != path:
            report.add(
                "same_stem",
                path,
                expected="one image of each name",
                found=f"{name_of(other)} in the same folder",
                next_step="rename or remove one; masks and maps are found by the name's stem",
            )
