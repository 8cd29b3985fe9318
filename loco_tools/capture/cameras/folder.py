"""A folder of images as a camera: it replays the photographs of another camera."""

import hashlib
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from loco_tools.capture.cameras.camera import (
    Camera,
    Frame,
    Settings,
    refuse_mismatch,
    require_connected,
)
from loco_tools.capture.cameras.replay import (
    DIGITS,
    ShotOrder,
    find_source,
    natural_order,
    order_hazards,
    refuse_swapped,
)
from loco_tools.datasets.image_file import read_header
from loco_tools.datasets.images import largest_value, read_upright, upright_size
from loco_tools.errors import CaptureError, DatasetError
from loco_tools.files import sha256_of
from loco_tools.plan import Plan, PlannedShot
from loco_tools.wording import listed, plural, printable

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})

_COMPANIONS = frozenset(
    {".csv", ".db", ".html", ".ini", ".json", ".jsonl", ".log", ".md", ".toml", ".txt", ".xml"}
    | {".zip"}
)
"""Suffixes of files that lie beside images and are none. Any other file may be a photograph that is
not read, and without it every later shot would get a wrong image."""


class FolderCamera(Camera):
    """Replays the images of a folder.

    If an image is named after a shot of the plan (`p0003-top.png`), each shot gets the image of its
    name, so the folder `images/` of a session can be replayed. Otherwise the n-th shot of the plan
    gets the n-th image, in the natural order of their names: IMG_2 comes before IMG_10. A shot that
    is taken again gets the same image again. Images are turned upright if their EXIF orientation
    asks for it. Subfolders and other files are not used. `caution` names them, and after
    `check_shots` also the images of the first and the last shot and what makes their order
    doubtful.

    Args:
        address: the folder, with or without the digest of its images.
        plan: see `Camera`.
    """

    def __init__(self, address: str, plan: Plan | None) -> None:
        self.identity = f"folder:{address}"
        self._address = address
        self._plan = plan
        self._order = ShotOrder(plan)
        self._images: tuple[Path, ...] | None = None
        self._unused: str | None = None
        self._settings: Settings = {}

    def connect(self) -> None:
        """See `Camera.connect`. Reads all images, for the digest."""
        folder, expected = find_source(self._address, Path.is_dir)
        images, self._unused = list_images(folder)
        digests = (os.fsencode(image.name) + f"\0{sha256_of(image)}\n".encode() for image in images)
        digest = hashlib.sha256(b"".join(digests)).hexdigest()[:DIGITS]
        refuse_swapped(folder, digest, expected)
        try:
            for image in images:
                _refuse_depth(image)
            sizes = [upright_size(image) for image in images]
        except DatasetError as error:
            raise CaptureError(str(error)) from error
        if self._plan:
            requested = self._plan.camera.requested()
            for image, (height, width) in zip(images, sizes, strict=True):
                size: Settings = {"width_px": width, "height_px": height}
                refuse_mismatch(str(image), requested, size, replayed=True)
        self.identity = f"folder:{folder}#{digest}"
        self._settings = {"width_px": sizes[0][1], "height_px": sizes[0][0]}
        self._images, self.caution = images, self._unused

    def check_shots(self, shots: Sequence[PlannedShot]) -> None:
        """See `Camera.check_shots`: there has to be one image for each shot.

        A folder whose images are named after shots may lack images, since no other image takes
        their place.
        """
        images = require_connected(self._images, self.identity)
        names = [shot.shot for shot in shots]
        named = [image for image in images if image.stem in names]
        if named:
            self._refuse_other_names(named, [image for image in images if image not in named])
            names, hazards = [image.stem for image in named], []
        else:
            self._refuse_unequal(images, names)
            hazards = order_hazards([image.name for image in images])
        pairs = [
            f"{printable(image.name)} is shot {name}"
            for image, name in zip(images, names, strict=True)
        ]
        shown = (", ..., " if len(pairs) > 2 else ", ").join(pairs[:1] + pairs[1:][-1:])
        self.caution = "; ".join(filter(None, [shown, *hazards, self._unused]))

    def frame(self, shot: PlannedShot) -> Frame:
        """See `Camera.frame`.

        Raises:
            CaptureError: the shot has no image, or its image is damaged.
        """
        image = self._find_image(shot, require_connected(self._images, self.identity))
        try:
            return Frame(read_upright(image))
        except DatasetError as error:
            raise CaptureError(f"shot {shot.shot}: {error}") from error

    def settings(self) -> Settings:
        """See `Camera.settings`: the size only."""
        return dict(self._settings)

    def close(self) -> None:
        """See `Camera.close`."""
        self._images = None

    def _find_image(self, shot: PlannedShot, images: Sequence[Path]) -> Path:
        by_name = {image.stem: image for image in images}
        if self._order.planned & by_name.keys():
            if shot.shot not in by_name:
                raise CaptureError(
                    f"{self.identity}: its images are named after shots, but none after shot "
                    f"{shot.shot}; next step: skip the shot, or add the image and begin a new "
                    "session"
                )
            return by_name[shot.shot]
        number = self._order.number(shot)
        if number >= len(images):
            raise CaptureError(
                f"{self.identity}: no image left: shot {shot.shot} needs number {number + 1}, the "
                f"folder holds {len(images)}; next step: add images and begin a new session"
            )
        return images[number]

    def _refuse_unequal(self, images: Sequence[Path], shots: Sequence[str]) -> None:
        """Check images that are paired by order: one for each shot, and no two of one name."""
        for image, after in pairwise(images):
            if natural_order(image.name)[0] == natural_order(after.name)[0]:
                raise CaptureError(
                    f"{self.identity}: expected one image of each name, since the suffix says "
                    f"nothing about the order, got {printable(image.name)} and "
                    f"{printable(after.name)}; next step: keep one of them, or name each image "
                    "after its shot (`--dry-run` lists them)"
                )
        if len(images) == len(shots):
            return
        surplus = images[len(shots) :]
        fault = (
            f"the images after {printable(images[len(shots) - 1].name)} belong to no shot "
            f"({listed([printable(image.name) for image in surplus])})"
            if surplus
            else f"if one is missing in the middle, the shots after it would get wrong images, and "
            f"{shots[len(images)]} is the first that gets none"
        )
        raise CaptureError(
            f"{self.identity}: expected {plural(len(shots), 'image')}, one for each shot of the "
            f"plan in the natural order of their names, found {len(images)}: {fault}; next step: "
            f"{'take the surplus images out of' if surplus else 'add the missing image to'} the "
            "folder, name each image after its shot (`--dry-run` lists them), or correct the plan"
        )

    def _refuse_other_names(self, named: Sequence[Path], others: Sequence[Path]) -> None:
        """Check images of which some are named after shots: each has to be, and only once."""
        stems = [image.stem for image in named]
        repeated = sorted({stem for stem in stems if stems.count(stem) > 1})
        if repeated:
            raise CaptureError(
                f"{self.identity}: expected one image for shot {repeated[0]}, found "
                f"{stems.count(repeated[0])}; next step: keep one of them"
            )
        if others:
            raise CaptureError(
                f"{self.identity}: expected each image to be named after a shot of the plan, as "
                f"{printable(named[0].name)} is, got "
                f"{listed([printable(image.name) for image in others])}; next step: take these "
                "images out of the folder, or name them after their shots (`--dry-run` lists them)"
            )


def list_images(folder: Path) -> tuple[tuple[Path, ...], str | None]:
    """The images of a folder in natural order, and a sentence on files that are not used, if any.

    Hidden files are left out, and not named.

    Raises:
        CaptureError: there is no image, an image is a named pipe, a folder or a broken link, or a
            file may be an image that is not read: it has no suffix of `_COMPANIONS`, and no image
            of its name lies beside it, as with a camera that writes raw and JPEG files.
    """
    entries = sorted(
        (path for path in folder.iterdir() if not path.name.startswith(".")),
        key=lambda path: natural_order(path.name),
    )
    images = tuple(path for path in entries if path.suffix.lower() in SUFFIXES)
    if not images:
        raise CaptureError(
            f"{folder}: expected images ({', '.join(sorted(SUFFIXES))}), found "
            f"{listed([printable(path.name) for path in entries]) or 'none'}; next step: give the "
            "folder that holds them"
        )
    for image in images:
        if not image.is_file():
            raise CaptureError(
                f"{printable(str(image))}: expected an image, got {_kind_of(image)}; next step: "
                "take it out of the folder, or put the image in its place"
            )
    beside = {image.stem for image in images} | {image.name for image in images}
    unused = [path for path in entries if path.suffix.lower() not in SUFFIXES]
    unread = [
        path
        for path in unused
        if not (path.is_dir() or path.suffix.lower() in _COMPANIONS or path.stem in beside)
    ]
    if unread:
        raise CaptureError(
            f"{folder}: expected images that can be read ({', '.join(sorted(SUFFIXES))}), got "
            f"{listed([printable(path.name) for path in unread])}; next step: convert these images "
            "to PNG, or take these files out of the folder"
        )
    names = listed([printable(path.name) + "/" * path.is_dir() for path in unused])
    return images, f"not used in {folder}: {names}" if unused else None


def _refuse_depth(image: Path) -> None:
    """Check that an image has at most 8 bits per value, from its header."""
    header = read_header(image)
    if header.is_decodable and header.bits <= 8:
        return
    largest = f", values up to {largest_value(image)}" if header.is_decodable else ""
    raise CaptureError(
        f"{printable(str(image))}: expected 8 bits per value, got {header.mode}{largest}; next "
        "step: convert all images to 8 bits with one factor (divide values of 12 bits by 16, of 16 "
        "bits by 256), or let the camera write 8 bits"
    )


def _kind_of(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.is_fifo():
        return "a named pipe"
    return "a device or a socket" if path.exists() else "a link to a file that is missing"
