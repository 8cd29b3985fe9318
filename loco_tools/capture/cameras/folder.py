"""A folder of images as a camera: it replays the photographs of another camera."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from loco_tools.capture.cameras.camera import (
    Camera,
    Frame,
    Settings,
    refuse_mismatch,
    require_connected,
)
from loco_tools.capture.cameras.replay import DIGITS, ShotOrder, find_source, refuse_swapped
from loco_tools.datasets.images import image_size, read_image
from loco_tools.errors import CaptureError, DatasetError
from loco_tools.files import sha256_of
from loco_tools.plan import Plan, PlannedShot

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})


class FolderCamera(Camera):
    """Replays the images of a folder; other files and subfolders are ignored.

    If an image is named after a shot of the plan (`p0003-top.png`), each shot gets the image of its
    name, so the folder `images/` of a session can be replayed. Otherwise the n-th shot of the plan
    gets the n-th image, sorted by name. A shot that is taken again gets the same image again.

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
        self._settings: Settings = {}

    def connect(self) -> None:
        """See `Camera.connect`. Reads all images, for the digest."""
        folder, expected = find_source(self._address, Path.is_dir)
        images = _list_images(folder)
        contents = "".join(f"{image.name}\0{sha256_of(image)}\n" for image in images)
        digest = hashlib.sha256(contents.encode()).hexdigest()[:DIGITS]
        refuse_swapped(folder, digest, expected)
        try:
            sizes = [image_size(image) for image in images]
        except DatasetError as error:
            raise CaptureError(str(error)) from error
        if self._plan:
            requested = self._plan.camera.requested()
            for image, (height, width) in zip(images, sizes, strict=True):
                size: Settings = {"width_px": width, "height_px": height}
                refuse_mismatch(str(image), requested, size, replayed=True)
            stems = [image.stem for image in images]
            repeated = sorted(s for s in self._order.planned & set(stems) if stems.count(s) > 1)
            if repeated:
                raise CaptureError(
                    f"{folder}: expected one image for shot {repeated[0]}, found "
                    f"{stems.count(repeated[0])}; next step: keep one of them"
                )
        self.identity = f"folder:{folder}#{digest}"
        self._settings = {"width_px": sizes[0][1], "height_px": sizes[0][0]}
        self._images = images

    def frame(self, shot: PlannedShot) -> Frame:
        """See `Camera.frame`.

        Raises:
            CaptureError: the shot has no image, or its image is damaged.
        """
        image = self._find_image(shot, require_connected(self._images, self.identity))
        try:
            return Frame(read_image(image))
        except DatasetError as error:
            raise CaptureError(str(error)) from error

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


def _list_images(folder: Path) -> tuple[Path, ...]:
    images = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not images:
        raise CaptureError(
            f"{folder}: expected images ({', '.join(sorted(SUFFIXES))}), found none; next step: "
            "give the folder that holds them"
        )
    return tuple(images)
