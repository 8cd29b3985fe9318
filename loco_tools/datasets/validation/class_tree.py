"""The files of a class folder as they are, listed without following a link or opening a file."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from loco_tools.datasets.tree import IMAGE_SUFFIXES, natural_key
from loco_tools.datasets.validation.findings import Report


@dataclass(frozen=True)
class ImageFile:
    """An image in its place; paths are relative to the class folder, with forward slashes."""

    path: str
    split: str
    kind_folder: str


@dataclass(frozen=True)
class MaskFile:
    """A mask in its place, and the image that it belongs to."""

    path: str
    image: str


@dataclass
class Contents:
    """What a layout recognised in a folder."""

    images: list[ImageFile] = field(default_factory=list)
    masks: list[MaskFile] = field(default_factory=list)


@dataclass(frozen=True)
class ClassTree:
    """Names of files and folders below `root`, relative to it, in natural order."""

    root: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]

    def has(self, folder: str) -> bool:
        """Whether there is such a folder."""
        return folder in self._folder_set

    def files_in(self, folder: str) -> list[str]:
        """The files directly in a folder ("" for the class folder)."""
        return self._files_by_folder.get(folder, [])

    def images_in(self, folder: str) -> list[str]:
        """The files directly in a folder that look like images."""
        return [path for path in self.files_in(folder) if is_image(path)]

    def folders_in(self, folder: str) -> list[str]:
        """The folders directly in a folder, without hidden ones."""
        return self._folders_by_folder.get(folder, [])

    def below(self, folder: str) -> list[str]:
        """All files below a folder."""
        return [path for path in self.files if path.startswith(f"{folder}/")]

    @cached_property
    def _folder_set(self) -> frozenset[str]:
        return frozenset(self.folders)

    @cached_property
    def _files_by_folder(self) -> dict[str, list[str]]:
        return _by_folder(self.files)

    @cached_property
    def _folders_by_folder(self) -> dict[str, list[str]]:
        return _by_folder(path for path in self.folders if not is_hidden(path))


def read_tree(root: Path, report: Report) -> ClassTree:
    """List a folder. Links and files that are no files are reported; only sound ones are listed."""
    resolved = root.resolve()
    files: list[str] = []
    folders: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        for entry in _entries(root, folder, report):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink() and not _sound_link(root, resolved, path, report):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                pending.append(path)
            elif entry.is_file():
                files.append(path)
            else:
                report.add(
                    "special_file",
                    path,
                    expected="files and folders",
                    found=f"a {_type_of(root / path)}",
                    mend="remove it",
                )
    return ClassTree(root, _ordered(files), _ordered(folders))


def _entries(root: Path, folder: str, report: Report) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(root / folder) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        report.add(
            "unreadable",
            folder,
            expected="a folder that can be listed",
            found=error.strerror or type(error).__name__,
            mend="change its permissions",
        )


def _sound_link(root: Path, resolved: Path, path: str, report: Report) -> bool:
    """Whether a link leads to a file within the class; everything else is reported."""
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
        mend="replace the link by a copy, or remove it",
    )
    return False


def _type_of(path: Path) -> str:
    mode = path.stat().st_mode
    names = ((stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket"))
    return next((name for test, name in names if test(mode)), "device")


def _ordered(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(paths, key=natural_key))


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(parent_of(path), []).append(path)
    return found


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
    """Whether a visible file has the suffix of an image; loaders read no hidden ones."""
    return has_image_suffix(path) and not is_hidden(path)


def has_image_suffix(path: str) -> bool:
    """Whether a file, hidden or not, has the suffix of an image."""
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def is_hidden(path: str) -> bool:
    """Whether a name starts with a dot."""
    return name_of(path).startswith(".")
