"""The images of a task, and the image on which a region lies."""

import re
from collections.abc import Iterable
from typing import Any

from loco_tools.annotations.formats.json_checks import escape_surrogates
from loco_tools.errors import AnnotationError

_IMAGE_KEYS = ("image", "images", "img")
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")


class TaskImages:
    """The images of one task.

    An Image tag of the labelling configuration shows the images under the key of its name, or of
    its plural, in the task's data. A tag whose name ends with a number (`page_1`) shows that page,
    counted from 0, of a key that holds a list of pages, as a Repeater makes them. The only tag of a
    task shows the task's only images, whatever its name is. Nothing else is guessed. A PDF document
    has pages, which are not images of their own.

    Args:
        data: the task's data.
        tags: names of the Image tags that its regions lie on.

    Attributes:
        shown: references of the images that the task shows: its main ones are those under "image",
            "images" or "img", or else those under the first key that holds any.
    """

    def __init__(self, data: dict[str, Any], tags: Iterable[str | None]) -> None:
        self._by_key = {
            key: tuple(escape_surrogates(name) for name in names)
            for key, value in data.items()
            if (names := _references(key, value))
        }
        self._pages = {key for key in self._by_key if _is_list_of_objects(data[key])}
        documents = [v for v in data.values() if isinstance(v, str) and _path(v).endswith(".pdf")]
        self._document = escape_surrogates(documents[0]) if len(documents) == 1 else None
        first = [key for key in (*_IMAGE_KEYS, *self._by_key) if key in self._by_key]
        self._main = self._by_key[first[0]] if first else ()
        self._tags = set(tags)
        ids = data.get("loco_shot", data.get("loco_sha256"))
        keyed = [key for key in ids if key in self._by_key] if isinstance(ids, dict) else []
        shown = [self._by_key[key] for key in keyed] or [self._main]
        self.shown = tuple(reference for references in shown for reference in references)

    def of(self, tag: str | None, item_index: int) -> tuple[str | None, int]:
        """The reference of the image that a region lies on, and its index among those of its key.

        The reference is None where the task names no image, and that of the document for a page of
        a PDF document.

        Args:
            tag: name of the Image tag that the region lies on; None where the export has no names.
            item_index: the index that the region gives, from 0.

        Raises:
            AnnotationError: the tag could mean several images of the task, or the task has no image
                of that index.
        """
        images = self._by_key.get(tag, self._by_key.get(f"{tag}s")) if tag is not None else None
        page = re.fullmatch(r".*?[_-]?(\d{1,6})", tag) if tag is not None else None
        if images is None and page and len(self._pages) == 1:
            images, item_index = self._by_key[next(iter(self._pages))], int(page[1])
        if images is None:
            if len(self._by_key) > 1 or (self._by_key and len(self._tags - {None}) > 1):
                keys = ", ".join(self._by_key)
                on = f'lies on "{tag}", which' if tag is not None else "lies on an image that"
                raise AnnotationError(
                    f"{on} is not among the images in the task's data ({keys}); next step: name "
                    "each Image tag like its variable, and export again as JSON"
                )
            images = self._main
        if images and item_index >= len(images):
            raise AnnotationError(
                f"lies on image number {item_index + 1} of its task, which has {len(images)}; next "
                "step: export again"
            )
        return (images[item_index] if images else self._document), item_index


def _references(key: str, value: Any) -> list[str]:
    """The references to images in a value of a task's data; empty if it is something else."""
    if looks_like_image(key, value):
        return [value] if isinstance(value, str) else value
    if not _is_list_of_objects(value):
        return []
    pages = [
        [inner for name, inner in page.items() if isinstance(inner, str) and _is_image(name, inner)]
        for page in value
    ]
    return [page[0] for page in pages] if all(len(page) == 1 for page in pages) else []


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(e, dict) for e in value)


def looks_like_image(key: str, value: Any) -> bool:
    """Whether a value in a task's data refers to an image, or is a list of such references."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(e, str) and looks_like_image(key, e) for e in value)
    return isinstance(value, str) and value != "" and _is_image(key, value)


def _is_image(key: str, value: str) -> bool:
    if value.startswith("data:"):
        return value.startswith("data:image/")
    path = _path(value)
    return (key in _IMAGE_KEYS and not path.endswith(".pdf")) or path.endswith(_IMAGE_SUFFIXES)


def _path(reference: str) -> str:
    path = reference.rpartition("?d=")[2]
    return path.partition("?")[0].partition("#")[0].lower()
