"""Resolve the image references of tasks to file names, and to files in local folders.

Label Studio writes `/data/upload/<project>/<8 hex>-<name>` for uploads (it adds the hexadecimal
prefix), `/data/local-files/?d=<path>` for local storages, and keeps cloud addresses and URLs as
they are. Nothing is ever downloaded. A reference that leads out of the searched folder (a path with
"..", an absolute path, a URL) is refused, unless a storage maps its prefix to a local folder.
"""

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loco_tools.errors import AnnotationError

Storages = Mapping[str, Path]
"""Local folders by the prefix of the references that they stand for, as in
`{"s3://parts/": Path("/mnt/parts")}`."""

_UPLOAD_PREFIX = re.compile(r"^(?:[0-9a-f]{8}-)+(?=.)")
_UPLOAD_SUFFIX = re.compile(r"_[A-Za-z0-9]{7}(?=\.\w+$)")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
_DRIVE = re.compile(r"^[A-Za-z]:")
_UPLOADS = "/data/upload/"
_LONGEST_SHOWN = 80


def parse_storages(given: Iterable[str]) -> dict[str, Path]:
    """Parse the storages of the command line, each given as PREFIX=DIR.

    The last equals sign separates the two, because a prefix may contain one.

    >>> list(parse_storages(["s3://parts/=.", "/data/local-files/?d=."]))
    ['s3://parts/', '/data/local-files/?d']

    Raises:
        AnnotationError: a storage has another form, or its folder is missing.
    """
    storages = {}
    for storage in given:
        prefix, _, folder = storage.rpartition("=")
        if not prefix or not folder:
            raise AnnotationError(f'storage "{storage}": expected PREFIX=DIR')
        if not Path(folder).is_dir():
            raise AnnotationError(f"storage {prefix}: expected the folder {folder}, found none")
        storages[prefix] = Path(folder)
    return storages


def names_of(reference: str) -> tuple[str, ...]:
    """The file names that an image reference may stand for, the most likely first.

    Besides the name that the reference gives as an address, these are the name without the prefix
    of an upload, and the characters of the reference as they stand, which need not be an address:
    a file may be called "50%25.jpg" or "p#3.jpg", and in forms a plus stands for a space.

    >>> names_of("/data/upload/1/0a1b2c3d-p0003-top.png")
    ('0a1b2c3d-p0003-top.png', 'p0003-top.png')
    """
    path = _path_of(_unsigned(reference))
    if path is None:
        return ()
    plain = _unsigned(reference).replace("\\", "/")
    if "local-files/?d=" in plain:
        plain = plain.rpartition("?d=")[2]
    elif _SCHEME.match(plain) and not plain.startswith(("http:", "https:")):
        pass  # an object in a store may have any name
    else:
        plain = plain.partition("?")[0]
    names = [path, plain, unquote(plain), unquote(plain.replace("+", " "))]
    ends = [name.rsplit("/", 1)[-1] for name in names]
    both = [name for end in ends for name in (end, _UPLOAD_PREFIX.sub("", end))]
    return tuple(dict.fromkeys(n for n in both if n not in {"", ".", ".."} and "\0" not in n))


def _unsigned(reference: str) -> str:
    """The reference inside an address of Label Studio's that signs it or looks it up."""
    signed = re.search(r"/(?:presign|resolve)/\?fileuri=([\w+/=-]+)", reference)
    try:
        return base64.b64decode(signed[1], "-_").decode() if signed else reference
    except ValueError:
        return reference


def refusal(reference: str, *, urls: bool = False) -> str | None:
    """The reason to refuse the file name in a reference; None when it can be trusted.

    Args:
        reference: the reference to an image.
        urls: accept the name at the end of every reference, because the user has named the folder
            that holds these images, and nothing else of the reference is used.
    """
    path = _path_of(reference)
    if path is None or urls:
        return None
    if _SCHEME.match(reference) and not _DRIVE.fullmatch(reference[:2]):
        return "is a URL, and nothing is downloaded"
    if ".." in path.split("/"):
        return "leaves its folder"
    rooted = path.startswith("/") and not reference.startswith(_UPLOADS)
    if (rooted and not _SCHEME.match(reference)) or _DRIVE.match(path):
        return "is an absolute path"
    return None


def check_trusted(reference: str, *, urls: bool = False) -> None:
    """Raise an error for a reference that `refusal` refuses.

    Raises:
        AnnotationError: the message names the reference and the reason.
    """
    reason = refusal(reference, urls=urls)
    if reason:
        raise AnnotationError(
            f"image {shown(reference)}: refused, it {reason}; next step: map its prefix to a "
            "folder with --storage PREFIX=DIR"
        )


def stored_file(reference: str, storages: Storages) -> Path | None:
    """The file of a reference in the storage that matches it; None when no storage matches.

    The storage with the longest matching prefix is used. The rest of the reference is a path in its
    folder; a query ("?token=...") is cut off.

    Raises:
        AnnotationError: the path leads out of the storage's folder, or there is no such file.
    """
    matching = [prefix for prefix in storages if prefix and reference.startswith(prefix)]
    if not matching:
        return None
    prefix = max(matching, key=len)
    rest = unquote(re.split(r"[?#&]", reference[len(prefix) :])[0]).replace("\\", "/")
    folder = storages[prefix].resolve()
    try:
        path = (folder / rest.lstrip("=/")).resolve()
        exists = path.is_file()
    except (OSError, ValueError):  # a name that is too long, or contains a zero byte
        path, exists = folder / "unreadable name", False
    if not path.is_relative_to(folder):
        raise AnnotationError(f"image {shown(reference)}: refused, it leaves {storages[prefix]}")
    if not exists:
        raise AnnotationError(
            f"image {shown(reference)}: expected it in {storages[prefix]}, found no such file; "
            "next step: correct --storage"
        )
    return path


def embedded_sha256(reference: str) -> str | None:
    """The SHA-256 of the image inside a data URL; None for every other reference."""
    if not reference.startswith("data:") or ";base64," not in reference[:100]:
        return None
    try:
        content = base64.b64decode(reference.split(",", 1)[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return hashlib.sha256(content).hexdigest()


class ImageFiles:
    """Finds image files by reference.

    Args:
        paths: the files that are searched by name.
        storages: local folders by the prefix of the references that they stand for.
        urls: search for the file name at the end of every reference, also of a URL.

    Attributes:
        respelt: references that were found only under another spelling -> file.
    """

    def __init__(
        self, paths: Iterable[Path], *, storages: Storages | None = None, urls: bool = False
    ) -> None:
        self._storages, self._urls = storages or {}, urls
        self._by_name: dict[str, list[Path]] = {}
        self._by_spelling: dict[str, list[Path]] = {}
        self.respelt: dict[str, Path] = {}
        for path in sorted(paths):
            if path.is_file():
                self._by_name.setdefault(path.name, []).append(path)
                self._by_spelling.setdefault(_spelling(path.name), []).append(path)

    def find(self, reference: str) -> Path | None:
        """The file that a reference stands for; None when there is none.

        Raises:
            AnnotationError: the reference matches two files, which the message names, or it is
                refused.
        """
        stored = stored_file(reference, self._storages)
        if stored is not None:
            return stored
        check_trusted(reference, urls=self._urls)
        names = names_of(reference)
        paths = [path for name in names for path in self._by_name.get(name, [])]
        for respell in (_spelling, lambda name: _spelling(_UPLOAD_SUFFIX.sub("", name))):
            if not paths:
                spellings = dict.fromkeys(map(respell, names))
                paths = [path for name in spellings for path in self._by_spelling.get(name, [])]
                if len(paths) == 1:
                    self.respelt[reference] = paths[0]
        if len(paths) > 1:
            raise AnnotationError(
                f'image "{shown(reference)}" could be {paths[0]} or {paths[1]}; next step: '
                "rename one, or point to a smaller folder"
            )
        return paths[0] if paths else None


def _spelling(name: str) -> str:
    """A file name as uploads change it: one Unicode form, no spaces or brackets, in lower case.

    Django, on which Label Studio is built, replaces spaces and drops what is no letter, digit,
    hyphen, underscore or dot.
    """
    whole = unicodedata.normalize("NFC", name).strip().replace(" ", "_")
    return re.sub(r"(?u)[^-\w.]", "", whole).casefold()


def _path_of(reference: str) -> str | None:
    """The path in a reference with forward slashes; None for a reference without a path."""
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


def shown(reference: str) -> str:
    """A reference in a message, shortened to 80 characters."""
    return reference if len(reference) <= _LONGEST_SHOWN else f"{reference[:_LONGEST_SHOWN]}..."
