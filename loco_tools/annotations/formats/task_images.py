"""The images of a task, and the image on which a region lies."""

from collections.abc import Iterable
from typing import Any

from loco_tools.annotations.formats.json_checks import escape_surrogates
from loco_tools.errors import AnnotationError

_IMAGE_KEYS = ("image", "images", "img")
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")


class TaskImages:
    """The images of one task.

    An Image tag of the labelling configuration shows the images under the key of its name in the
    task's data. A tag of another name shows the task's main images: those under "image", "images"
    or "img", or else those under the first key that holds any. Two tags of other names are
    ambiguous when the task has images under several keys.

    Args:
        data: the task's data.
        tags: names of the Image tags that its regions lie on.

    Attributes:
        shown: references of the images that the task shows.
    """

    def __init__(self, data: dict[str, Any], tags: Iterable[str | None]) -> None:
        self._by_key = {
            key: tuple(
                escape_surrogates(name) for name in ([value] if isinstance(value, str) else value)
            )
            for key, value in data.items()
            if looks_like_image(key, value)
        }
        first = [key for key in (*_IMAGE_KEYS, *self._by_key) if key in self._by_key]
        self._main = self._by_key[first[0]] if first else ()
        unknown = {tag for tag in tags if tag is not None and tag not in self._by_key}
        self._ambiguous = unknown if len(unknown) > 1 and len(self._by_key) > 1 else frozenset()
        ids = data.get("loco_shot", data.get("loco_sha256"))
        keyed = [key for key in ids if key in self._by_key] if isinstance(ids, dict) else []
        shown = [self._by_key[key] for key in keyed] or [self._main]
        self.shown = tuple(reference for references in shown for reference in references)

    def of(self, tag: str | None, item_index: int) -> str | None:
        """The reference of the image that a region lies on; None where the task names no image.

        Raises:
            AnnotationError: the tag could mean several images of the task.
        """
        if tag in self._ambiguous:
            keys = ", ".join(self._by_key)
            raise AnnotationError(
                f'lies on "{tag}", which is not among the images in the task\'s data ({keys}); '
                "next step: name each Image tag like its variable, and export again"
            )
        images = self._by_key.get(tag, self._main) if tag is not None else self._main
        return images[item_index] if item_index < len(images) else None


def looks_like_image(key: str, value: Any) -> bool:
    """Whether a value in a task's data refers to an image, or is a list of such references."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(e, str) and looks_like_image(key, e) for e in value)
    if not isinstance(value, str) or value == "":
        return False
    if value.startswith("data:"):
        return value.startswith("data:image/")
    path = value.split("?d=")[-1].split("?")[0].split("#")[0].lower()
    return key in _IMAGE_KEYS or path.endswith(_IMAGE_SUFFIXES)
