"""From the way a task refers to an image to the image's name, and to a file in a folder.

Label Studio writes `/data/upload/<project>/<8 hex>-<name>` for uploads (the prefix is its own),
`/data/local-files/?d=<path>` for local storages, and leaves cloud addresses and URLs as they are.
Nothing is ever fetched. A reference that would lead out of the folder that is searched (a path with
"..", an absolute path, a URL) is refused, unless a storage says which folder it stands for.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loco_tools.errors import AnnotationError

Storages = Mapping[str, Path]
"""Folders by the beginning of the references that they stand for: {"s3://parts/": Path("/mnt")}."""

_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
_DRIVE = re.compile(r"^[A-Za-z]:")
_UPLOADS = "/data/upload/"
_LONGEST_SHOWN = 80


def parse_storages(given: Iterable[str]) -> dict[str, Path]:
    """Storages as the command line gives them, each as PREFIX=DIR.

    The last equals sign counts, because a prefix may hold one.

    >>> list(parse_storages(["s3://parts/=.", "/data/local-files/?d=."]))
    ['s3://parts/', '/data/local-files/?d']

    Raises:
        AnnotationError: one is not of this form, or its folder is missing.
    """
    storages = {}
    for one in given:
        prefix, _, folder = one.rpartition("=")
        if not prefix or not folder:
            raise AnnotationError(f'storage "{one}": expected PREFIX=DIR')
        if not Path(folder).is_dir():
            raise AnnotationError(f"storage {prefix}: expected the folder {folder}, found none")
        storages[prefix] = Path(folder)
    return storages


def names_of(reference: str) -> tuple[str, ...]:
    """The file names that an image reference may stand for, the likeliest first.

    >>> names_of("/data/upload/1/0a1b2c3d-p0003-top.png")
    ('0a1b2c3d-p0003-top.png', 'p0003-top.png')
    """
    path = _path_of(reference)
    name = path.rsplit("/", 1)[-1] if path is not None else ""
    if name in {"", ".", ".."} or "\0" in name:
        return ()
    bare = _UPLOAD_PREFIX.sub("", name)
    return (name,) if bare == name else (name, bare)


def refusal(reference: str, *, urls: bool = False) -> str | None:
    """Why the file name in a reference is not to be trusted; None when it is.

    Args:
        reference: to an image.
        urls: whether the name at the end of a URL is wanted, because the person has named the
            folder that holds those images.
    """
    path = _path_of(reference)
    if path is None:
        return None
    if not urls and _SCHEME.match(reference) and not _DRIVE.fullmatch(reference[:2]):
        return "is a URL, and nothing is fetched"
    if ".." in path.split("/"):
        return "leaves its folder"
    rooted = path.startswith("/") and not reference.startswith(_UPLOADS)
    if (rooted and not _SCHEME.match(reference)) or _DRIVE.match(path):
        return "is an absolute path"
    return None


def check_trusted(reference: str, *, urls: bool = False) -> None:
    """Refuse a reference for the reason that `refusal` gives.

    Raises:
        AnnotationError: the message names the reference.
    """
    reason = refusal(reference, urls=urls)
    if reason:
        raise AnnotationError(
            f"image {_shown(reference)}: refused, it {reason}; next step: say with --storage "
            "PREFIX=DIR which folder it stands for"
        )


def stored_file(reference: str, storages: Storages) -> Path | None:
    """The file that a configured storage has for a reference; None without such a storage.

    The storage with the longest fitting prefix counts. What follows the prefix is a path in its
    folder; a query ("?token=...") is cut off.

    Raises:
        AnnotationError: the path leads out of the storage's folder, or there is no such file.
    """
    fitting = [prefix for prefix in storages if prefix and reference.startswith(prefix)]
    if not fitting:
        return None
    prefix = max(fitting, key=len)
    rest = unquote(re.split(r"[?#&]", reference[len(prefix) :])[0]).replace("\\", "/")
    folder = storages[prefix].resolve()
    try:
        path = (folder / rest.lstrip("=/")).resolve()
        found = path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        path, found = folder / "unreadable name", False
    if not path.is_relative_to(folder):
        raise AnnotationError(f"image {_shown(reference)}: refused, it leaves {storages[prefix]}")
    if not found:
        raise AnnotationError(
            f"image {_shown(reference)}: expected it in {storages[prefix]}, found no such file; "
            "next step: correct --storage"
        )
    return path


def embedded_sha256(reference: str) -> str | None:
    """The SHA-256 of an image that the reference itself holds (a data URL), else None."""
    if not reference.startswith("data:") or ";base64," not in reference[:100]:
        return None
    try:
        content = base64.b64decode(reference.split(",", 1)[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return hashlib.sha256(content).hexdigest()


class ImageFiles:
    """The files of some folders by name, and those that storages stand for.

    Args:
        paths: the files.
        storages: folders for references that would be refused otherwise.
        urls: whether the file name at the end of a URL may be looked for.
    """

    def __init__(
        self, paths: Iterable[Path], *, storages: Storages | None = None, urls: bool = False
    ) -> None:
        self._storages, self._urls = storages or {}, urls
        self._by_name: dict[str, list[Path]] = {}
        for path in sorted(paths):
            if path.is_file():
                self._by_name.setdefault(path.name, []).append(path)

    def find(self, reference: str) -> Path | None:
        """The file that a reference stands for, or None.

        Raises:
            AnnotationError: two files could be meant, and the message names both; or the reference
                is refused.
        """
        stored = stored_file(reference, self._storages)
        if stored is not None:
            return stored
        check_trusted(reference, urls=self._urls)
        found = [path for name in names_of(reference) for path in self._by_name.get(name, [])]
        if len(found) > 1:
            raise AnnotationError(
                f'image "{_shown(reference)}" could be {found[0]} or {found[1]}; next step: '
                "rename one, or point to a smaller folder"
            )
        return found[0] if found else None


def _path_of(reference: str) -> str | None:
    """The path in a reference with forward slashes; None when it holds none."""
    if reference.startswith("data:"):
        return None
    try:
        parts = urlsplit(reference)
    except ValueError:
        return None
    local = re.search(r"(?:^|&)d=([^&]*)", parts.query) if "local-files" in parts.path else None
    drive = _DRIVE.match(reference)
    path = local.group(1) if local else reference if drive else parts.path
    return unquote(path).replace("\\", "/")


def _shown(reference: str) -> str:
    return reference if len(reference) <= _LONGEST_SHOWN else f"{reference[:_LONGEST_SHOWN]}..."
