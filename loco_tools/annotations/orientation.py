"""Images that are stored rotated or mirrored, with an EXIF orientation for displaying them upright.

Browsers display such an image upright, so annotators draw on the upright image, and Label Studio
records its width and height. The rest of loco-tools works on the pixels as they are stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loco_tools.annotations.formats.regions import Region
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.datasets.images import SIDEWAYS, exif_orientation, image_size
from loco_tools.errors import AnnotationError

# EXIF 2.32, section 4.6.4, tag 274: from the upright image back to the stored one
_TO_STORED: Mapping[int, Callable[[Mask], Mask]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.T,
    6: np.rot90,
    7: lambda upright: upright[::-1, ::-1].T,
    8: lambda upright: np.rot90(upright, -1),
}


@dataclass(frozen=True)
class StoredImage:
    """The pixel grid of an image file: its stored size (H, W) and EXIF orientation (1 to 8)."""

    path: Path
    size: tuple[int, int]
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """(H, W) as displayed."""
        height, width = self.size
        return (width, height) if self.orientation in SIDEWAYS else (height, width)

    def fits(self, region: Region) -> bool:
        """Whether the region's image size allows that it was drawn on this image."""
        return region.size in {None, self.size, self.upright_size}

    def mask_of(self, region: Region, *, alpha_threshold: int = 128) -> Mask:
        """The pixels of a region on the stored grid: an (H, W) bool mask that is not empty.

        A region whose image size is unknown or that of the upright image was drawn on the upright
        image; otherwise it was drawn on the image as stored.

        Raises:
            AnnotationError: the region was drawn on an image of another size, has no area, is
                malformed, or covers no pixel.
        """
        if region.size in {None, self.upright_size}:
            upright = region.mask(self.upright_size, alpha_threshold=alpha_threshold)
            return np.ascontiguousarray(_TO_STORED[self.orientation](upright))
        if region.size == self.size:
            return region.mask(self.size, alpha_threshold=alpha_threshold)
        raise AnnotationError(self.misfit(region))

    def misfit(self, region: Region) -> str:
        """The error message for a region that was drawn on an image of another size."""
        height, width = region.size or (0, 0)
        return (
            f"task {region.task}, region {region.id}: was drawn on an image of {width} x {height} "
            f"pixels, but {self.path} has {self.upright_size[1]} x {self.upright_size[0]}; next "
            "step: annotate the photographs of the session themselves"
        )


def stored_image(path: Path) -> StoredImage:
    """Read the pixel grid of an image file from its header.

    A missing or meaningless EXIF orientation counts as 1 (upright). The orientation of a TIFF is
    ignored, because image readers apply it themselves.

    Raises:
        DatasetError: the file is missing, is not an image, or claims too many pixels.
    """
    return StoredImage(path, image_size(path), exif_orientation(path))
