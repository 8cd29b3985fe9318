"""The files of a class folder, listed without opening one."""

import os
import stat
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from loco_tools.datasets.sample import Split
from loco_tools.datasets.tree import IMAGE_SUFFIXES, natural_key
from loco_tools.datasets.validation.findings import Report
from loco_tools.wording import plural


@dataclass(frozen=True)
class ImageFile:
    """An image of the layout; `path` is relative to the class folder, with forward slashes."""

    path: str
    split: Split
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

    @property
    def paths(self) -> list[str]:
        """The paths of all images and masks."""
        return [file.path for file in self.images] + [file.path for file in self.masks]


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
    """List a folder; links to files are looked through, as in the cache of a model hub.

    Links to folders are not followed: they could lead in a circle, and the hash of a class does not
    cover what is behind them. They are reported, and so are links to nothing and special files.
    """
    files: list[str] = []
    folders: list[str] = []
    links: list[str] = []
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
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                pending.append(path)
            elif (root / path).is_file() or is_hidden(path):
                files.append(path)
                if entry.is_symlink():
                    links.append(path)
            else:
                _report_unreadable_entry(root / path, path, report)
    if links:
        target = (root / links[0]).readlink()
        report.add(
            "linked_file",
            ".",
            expected="the files themselves",
            found=f"{plural(len(links), 'link')} to files, such as {links[0]} to {target}",
            next_step="copy the folder with its links resolved (cp -rL) before passing it on; the "
            "files are read through the links",
        )
    return ClassTree(root, files, folders)


def _report_unreadable_entry(full: Path, path: str, report: Report) -> None:
    """Report what is neither a file nor a folder: a link that is not followed, a pipe, a device."""
    if full.is_symlink() and not full.exists():
        code, expected = "broken_link", "a file"
        found = f"a link to {full.readlink()}, which is missing"
        next_step = "restore the file, or remove the link"
    elif full.is_dir():
        code, expected = "linked_folder", "a folder of the class itself"
        found = f"a link to the folder {full.readlink()}"
        next_step = "replace the link by a copy, or by links to its files; it is not followed"
    else:
        mode = full.stat().st_mode
        types = ((stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket"))
        kind = next((name for test, name in types if test(mode)), "device")
        code, expected, found = "special_file", "files and folders", f"a {kind}"
        next_step = "remove it"
    report.add(code, path, expected=expected, found=found, next_step=next_step)


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


UNREAD_SUFFIXES = (
    *(".jfif", ".jif", ".jpe", ".jp2", ".jxl", ".heic", ".heif", ".avif", ".gif", ".dib", ".svg"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".tga", ".dds", ".psd", ".exr", ".hdr", ".npy", ".dcm"),
    *(".dng", ".arw", ".cr2", ".cr3", ".nef", ".raw"),
)
"""Suffixes of images that are not read."""


def has_image_suffix(path: str) -> bool:
    """Whether a file, hidden or not, has the suffix of an image."""
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def is_any_image(path: str) -> bool:
    """Whether a visible file has the suffix of an image, read or not."""
    return not is_hidden(path) and (
        has_image_suffix(path) or PurePosixPath(path).suffix.lower() in UNREAD_SUFFIXES
    )


def is_hidden(path: str) -> bool:
    """Whether a name starts with a dot."""
    return name_of(path).startswith(".")
