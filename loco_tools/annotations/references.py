"""From the way a task refers to an image to the image's name, and to a file in a folder.

Label Studio writes `/data/upload/<project>/<8 hex>-<name>` for uploads (the prefix is its own),
`/data/local-files/?d=<path>` for local storages, and leaves cloud addresses and URLs as they are.
Only the last part of any of them is used, so no reference leads out of the folder that is searched,
and nothing is ever fetched.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loco_tools.errors import AnnotationError

_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")


def names_of(reference: str) -> tuple[str, ...]:
    """The file names that an image reference may stand for, the likeliest first.

    >>> names_of("/data/upload/1/0a1b2c3d-p0003-top.png")
    ('0a1b2c3d-p0003-top.png', 'p0003-top.png')
    """
    if reference.startswith("data:"):
        return ()
    try:
        parts = urlsplit(reference)
    except ValueError:
        return ()
    local = re.search(r"(?:^|&)d=([^&]*)", parts.query) if "local-files" in parts.path else None
    path = unquote(local.group(1) if local else parts.path).replace("\\", "/")
    name = path.rsplit("/", 1)[-1]
    if name in {"", ".", ".."} or "\0" in name:
        return ()
    bare = _UPLOAD_PREFIX.sub("", name)
    return (name,) if bare == name else (name, bare)


class ImageFiles:
    """The files of some folders by name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._by_name: dict[str, list[Path]] = {}
        for path in sorted(paths):
            if path.is_file():
                self._by_name.setdefault(path.name, []).append(path)

    def find(self, reference: str) -> Path | None:
        """The file that a reference stands for, or None.

        Raises:
            AnnotationError: two files have that name; the message names both.
        """
        for name in names_of(reference):
            found = self._by_name.get(name, [])
            if len(found) > 1:
                raise AnnotationError(
                    f'image "{name}" is there {len(found)} times ({found[0]}, {found[1]}); '
                    "next step: rename one, or point to a smaller folder"
                )
            if found:
                return found[0]
        return None
