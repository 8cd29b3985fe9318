"""The files of a class folder, listed without following a link or opening a file."""

import os
import stat
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from loco_tools.datasets.tree import IMAGE_SUFFIXES, natural_key
from loco_tools.datasets.validation.findings import Report


@dataclass(frozen=True)
class ImageFile:
    """An image of the layout; `path` is relative to the class folder, with forward slashes."""

    path: str
    split: str
    kind_folder: str


@dataclass(frozen=True)
class MaskFile:
    """A mask of the layout, and the path of the image that it belongs to."""

    path: str
    image: str


@dataclass
class Contents:
    """The images and masks that a layout recognises in a folder."""

    images: list[ImageFile] = field(default_factory=list)
    masks: list[MaskFile] = field(default_factory=list)


class ClassTree:
    """Files and folders below a class folder, relative to it, in natural order."""

    def __init__(self, root: Path, files: list[str], folders: list[str]) -> None:
        self.root = root
        self.files = sorted(files, key=natural_key)
        self.folders = sorted(folders, key=natural_key)
        self._folder_set = frozenset(folders)
        self._files_by_folder: defaultdict[str, list[str]] = defaultdict(list)
        self._folders_by_folder: defaultdict[str, list[str]] = defaultdict(list)
        for path in self.files:
            self._files_by_folder[parent_of(path)].append(path)
        for path in self.folders:
            if not is_hidden(path):
                self._folders_by_folder[parent_of(path)].append(path)

    def has(self, folder: str) -> bool:
        """Whether there is such a folder."""
        return folder in self._folder_set

    def files_in(self, folder: str) -> list[str]:
        """The files directly in a folder ("" for the class folder)."""
        return self._files_by_folder.get(folder, [])

    def images_in(self, folder: str) -> list[str]:
        """The files directly in a folder that have the suffix of an image."""
        return [path for path in self.files_in(folder) if is_image(path)]

    def folders_in(self, folder: str) -> list[str]:
        """The visible folders directly in a folder."""
        return self._folders_by_folder.get(folder, [])

    def below(self, folder: str) -> list[str]:
        """All files below a folder."""
        return [path for path in self.files if path.startswith(f"{folder}/")]


def read_tree(root: Path, report: Report) -> ClassTree:
    """List a folder. Links that leave it and special files are reported and left out."""
    resolved = root.resolve()
    files: list[str] = []
    folders: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            report.add(
                "unreadable",
                folder,
                expected="a folder that can be listed",
                found=error.strerror or type(error).__name__,
                next_step="change its permissions",
            )
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink() and not _is_sound_link(root, resolved, path, report):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                pending.append(path)
            elif entry.is_file():
                files.append(path)
            else:
                mode = (root / path).stat().st_mode
                types = ((stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket"))
                kind = next((name for test, name in types if test(mode)), "device")
                report.add(
                    "special_file",
                    path,
                    expected="files and folders",
                    found=f"a {kind}",
                    next_step="remove it",
                )
    return ClassTree(root, files, folders)


def _is_sound_link(root: Path, resolved: Path, path: str, report: Report) -> bool:
    """Whether a link leads to a file within the class; every other link is reported."""
    target = Path(os.path.realpath(root / path))
    if not target.is_relative_to(resolved):
        code, found = "link_outside", f"a link to {target}"
    elif not target.exists():
        code, found = "broken_link", f"a link to {target.relative_to(resolved)}, which is missing"
    elif target.is_dir():
        code, found = "linked_folder", f"a link to the folder {target.relative_to(resolved)}"
    else:
        return True
    report.add(
        code,
        path,
        expected="a file or folder of the class itself (links are not followed)",
        found=found,
        next_step="replace the link by a copy, or remove it",
    )
    return False


def parent_of(path: str) -> str:
    """The folder of a relative path, "" for the class folder."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """The last part of a relative path."""
    return path.rpartition("/")[2]


def stem_of(path: str) -> str:
    """The name of a file without its suffix."""
    return PurePosixPath(path).stem


def is_image(path: str) -> bool:
    """Whether a visible file has the suffix of an image; loaders ignore hidden files."""
    return has_image_suffix(path) and not is_hidden(path)


def has_image_suffix(path: str) -> bool:
    """Whether a file, hidden or not, has the suffix of an image."""
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def is_hidden(path: str) -> bool:
    """Whether a name starts with a dot."""
    return name_of(path).startswith(".")
