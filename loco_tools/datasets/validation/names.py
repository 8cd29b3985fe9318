"""Checks of folders and file names that all layouts share."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from unicodedata import category

from loco_tools.datasets.sample import Split
from loco_tools.datasets.tree import IMAGE_SUFFIXES
from loco_tools.datasets.validation.class_tree import (
    UNREAD_SUFFIXES,
    ClassTree,
    Contents,
    ImageFile,
    has_image_suffix,
    is_any_image,
    is_hidden,
    is_image,
    name_of,
    parent_of,
    stem_of,
)
from loco_tools.datasets.validation.findings import Effect, Report
from loco_tools.wording import listed, plural

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_NUMBER = re.compile(r"\d{3,}", re.ASCII)


def require_folder(
    tree: ClassTree,
    folder: str,
    report: Report,
    *,
    code: str,
    next_step: str,
    effect: Effect | None = None,
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
        effect=effect,
    )


def require_masks(tree: ClassTree, folder: str, report: Report) -> None:
    """Report a missing folder of masks, without which its images cannot be read."""
    if not tree.has(folder):
        require_folder(
            tree,
            folder,
            report,
            code="missing_folder",
            next_step="add the masks there",
            effect="refused",
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
        for split in _SPLITS
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


def check_unused(
    tree: ClassTree, contents: Contents, known: Collection[str], report: Report
) -> None:
    """Report every file that is neither an image nor a mask of the layout, by one rule.

    A folder outside the layout is one finding, which stands for all that is in it. Every other file
    is a finding of its own, unless there already is one about it or about the folder of its masks.

    Args:
        tree: the class.
        contents: the images and masks.
        known: the folders of the layout.
        report: collects the findings.
    """
    roots = {"", "train", "validation", "test", "ground_truth", "ground_truth/good", *known}
    outside = {path for path in tree.folders if path not in roots}
    for folder in (path for path in tree.folders if path in outside):
        if parent_of(folder) in outside or report.names(folder):
            continue
        images = sum(is_any_image(path) for path in tree.below(folder))
        misnamed = parent_of(folder) in ("test", "ground_truth") and not is_hidden(folder)
        report.add(
            "unexpected_folder" if images or misnamed else "stray_folder",
            folder,
            expected="only the folders of the layout",
            found=f"a folder with {plural(images, 'image')}, which is not read"
            if images
            else "another folder, which is not read",
            next_step=_hint_for(folder),
        )
    used = set(contents.paths)
    for path in tree.files:
        folder = parent_of(path)
        if path in used or folder in outside or report.names(path) or is_allowed(path):
            continue
        if not is_hidden(path) and PurePosixPath(path).suffix.lower() in UNREAD_SUFFIXES and folder:
            report.add(
                "image_not_read",
                path,
                expected=f"an image with a suffix that is read ({' '.join(IMAGE_SUFFIXES)})",
                found="another suffix, so the image is left out",
                next_step="store it as PNG, or move it out of the class folder",
            )
            continue
        report.add(
            "stray_image" if has_image_suffix(path) else "stray_file",
            path,
            expected="only the images and masks of the layout",
            found="a hidden file" if is_hidden(path) else "another file, which is not read",
            next_step="move it out of the class folder; other tools read every file there",
        )


def _hint_for(folder: str) -> str:
    if folder.casefold() in ("val", "valid", "eval", "dev"):
        return "rename it to validation; until then bench holds out images of train/good"
    return "rename it or move it out of the class; other tools read all images"


_LICENCES = ("license", "licence", "readme", "copying", "citation", "notice")


def is_allowed(path: str) -> bool:
    """Whether a file belongs to a class that is neither an image nor a mask."""
    return path == "defects_config.json" or (
        "/" not in path
        and PurePosixPath(path).stem.casefold() in _LICENCES
        and PurePosixPath(path).suffix.casefold() in ("", ".txt", ".md", ".rst", ".cff")
    )


def check_splits(tree: ClassTree, contents: Contents, report: Report) -> None:
    """Refuse a class whose images lie elsewhere than in the folders that are read.

    Examples are MVTec 3D-AD (train/good/rgb), MVTec AD 2 (test_public) and BTAD (train/ok).
    """
    read = {"train/good": False, "test/good or test/<defect>": False}
    for image in contents.images:
        read["train/good"] |= image.split == "train"
        read["test/good or test/<defect>"] |= image.split == "test"
    missing = [folder for folder, has_images in read.items() if not has_images]
    used = set(contents.paths)
    elsewhere = Counter(
        parent_of(path)
        for path in tree.files
        if "/" in path and path not in used and is_any_image(path)
        and not path.startswith("ground_truth/") and not any(p[0] == "." for p in path.split("/"))
    )  # fmt: skip
    linked = [
        p for p in ("train", "train/good", "test", "test/good") if (tree.root / p).is_symlink()
    ]
    if missing and (elsewhere or linked):
        found = [f"{folder} ({plural(count, 'image')})" for folder, count in elsewhere.items()]
        found += [f"{path} (a link to a folder, which is not followed)" for path in linked]
        report.add(
            "images_elsewhere",
            ".",
            expected=f"images in {' and in '.join(missing)}",
            found=f"them in {listed(found)}",
            next_step="move or rename the folders; MVTec 3D-AD, MVTec AD 2, BTAD and other layouts "
            "are not read",
        )


def check_good_name(tree: ClassTree, kind: str, report: Report) -> bool:
    """Report a folder of test images whose name says that they are good."""
    if kind.casefold() not in ("good", "ok", "normal", "okay", "nondefective", "defect_free"):
        return False
    has_masks = any(is_image(path) for path in tree.below(f"ground_truth/{kind}"))
    if has_masks or not tree.images_in(f"test/{kind}"):
        return False
    report.add(
        "good_misnamed",
        f"test/{kind}",
        expected="good test images in test/good",
        found=f"them in test/{kind}, which counts as the folder of a defect",
        next_step="rename the folder to good, or add the masks of its defects",
    )
    return True


def check_enough(
    contents: Contents, records: Mapping[str, Mapping[str, Any]], report: Report
) -> None:
    """Report what a benchmark lacks: images to train with, to hold out, and to test on.

    Without a validation split some parts, or images, of train/good are held out.

    Args:
        contents: the images.
        records: the lines of the sidecar by image, which name the part.
        report: collects the findings.
    """
    folders = Counter((image.split, image.kind_folder == "good") for image in contents.images)
    train = {
        records.get(image.path, {}).get("part") or f"/{image.path}"
        for image in contents.images
        if image.split == "train"
    }
    least = 1 if folders["validation", True] else 2
    needs = (
        (len(train), least, "training image", "" if least == 1 else " (of different parts)"),
        (folders["test", True], 1, "good test image", ""),
        (folders["test", False], 1, "anomalous test image", ""),
    )
    if missing := [need for need in needs if need[0] < need[1]]:
        report.add(
            "too_few_images",
            ".",
            expected=" and ".join(
                f"at least {plural(least, noun)}{note}" for _, least, noun, note in missing
            ),
            found=" and ".join(str(number) for number, *_ in missing),
            next_step="add images; a benchmark needs them",
        )


def check_names(contents: Contents, class_name: str, report: Report) -> None:
    """Refuse names that are not UTF-8, and control characters in names of images and masks."""
    refused = ("Cs", "Cc", "Zl", "Zp")
    names = [(".", class_name, refused[:1]), *((p, name_of(p), refused) for p in contents.paths)]
    for path, name, categories in names:
        if any(category(character) in categories for character in name):
            report.add(
                "name_not_text",
                path,
                expected="names in UTF-8 without control characters, since results name the images",
                found=f'the name "{name}"',
                next_step="rename it",
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


def check_clashes(tree: ClassTree, contents: Contents, report: Report) -> None:
    """Report names that differ only in case, and images that differ only in their suffix."""
    read = {parent_of(path) for path in contents.paths}
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
        if not is_image(path) or parent_of(path) not in read:
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
