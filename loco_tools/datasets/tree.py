"""Names of files and folders: their order, and the suffixes of images."""

import re
from pathlib import Path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that compares runs of digits by value.

    >>> sorted(["10.png", "9.png", "a2", "a10"], key=natural_key)
    ['a2', 'a10', '9.png', '10.png']
    """
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def subfolders(folder: Path) -> list[Path]:
    """The visible folders in a folder in natural order; empty if the folder does not exist."""
    if not folder.is_dir():
        return []
    visible = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    return sorted(visible, key=lambda path: natural_key(path.name))
