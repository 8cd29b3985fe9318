"""Structural anomalies: changes of the surface, after CutPaste (Li et al. 2021) and DRAEM.

Each function draws one anomaly and returns the changed image (H, W, 3), or None when the image
has no place for it this time.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels
from loco_tools.synthesis.draem import augmented
from loco_tools.synthesis.perlin import Field, perlin_noise, turned
from loco_tools.synthesis.scene import Scene, to_bytes
from loco_tools.synthesis.textures import ProceduralTextures

_TEXTURE_PX = 96
"""The least side of a foreign texture, of which the blob shows the middle. A texture of the size of
the image would take longer to make than the rest of the anomaly."""
_RAGGED = 0.6
"""How far noise moves the edge of a blob, in radii."""


def texture(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A blob of a foreign texture with some transparency, as in DRAEM but smaller."""
    blob = _draw_blob(scene, rng)
    h, w = blob.share.shape
    size = (max(_TEXTURE_PX, h), max(_TEXTURE_PX, w))
    foreign = augmented(ProceduralTextures()(size, rng), rng)
    top, left = (size[0] - h) // 2, (size[1] - w) // 2
    middle = foreign[top : top + h, left : left + w].astype(np.float32)
    return blob.fill(scene.image, middle, rng.uniform(0.2, 0.8))


def stain(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A blob that is darker, lighter or of another tint; its structure stays."""
    blob, image = _draw_blob(scene, rng), scene.image
    strength = rng.uniform(12, 80) * rng.choice([-1.0, 1.0])
    tint = rng.normal(0, 0.35 * (rng.random() < 0.3), 3)
    return blob.fill(image, image[blob.window] + strength * (1 + tint))


def smear(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A blob in which structure is blurred along one direction."""
    image = scene.image
    length = max(5, int(rng.uniform(0.02, 0.07) * min(scene.size))) | 1
    level = np.zeros((length, length), np.float32)
    level[length // 2] = 1
    kernel = turned(level, rng.uniform(-90, 90))
    blob = _draw_blob(scene, rng)
    blurred = cv2.filter2D(image[blob.window], -1, kernel / kernel.sum())
    return blob.fill(image, blurred.astype(np.float32))


def cut_paste(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A rectangle of the image with changed brightness, turned and pasted at another position."""
    (height, width), image = scene.size, scene.image
    area, ratio = rng.uniform(0.002, 0.02) * height * width, np.exp(rng.uniform(-1.2, 1.2))
    h, w = (
        int(np.clip(round(float(length)), 3, max(3, limit // 2)))
        for length, limit in ((np.sqrt(area * ratio), height), (np.sqrt(area / ratio), width))
    )
    y, x = scene.random_pixel(rng)
    top, left = int(np.clip(y - h // 2, 0, height - h)), int(np.clip(x - w // 2, 0, width - w))
    patch = image[top : top + h, left : left + w].astype(np.float32)
    if rng.random() < 0.5:
        patch = np.flip(patch, int(rng.integers(2)))
    patch_bytes = to_bytes(patch * rng.uniform(0.75, 1.25) + rng.uniform(-15, 15))
    y, x = scene.random_pixel(rng)
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), rng.uniform(-180, 180), 1.0)
    turn = turn + np.array([[0, 0, x - w / 2], [0, 0, y - h / 2]])
    pasted = cv2.warpAffine(patch_bytes, turn, (width, height), flags=cv2.INTER_LINEAR)
    share = cv2.warpAffine(np.ones((h, w), np.float32), turn, (width, height))
    return _blend(image, pasted.astype(np.float32), share.astype(np.float32))


def scar(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A long thin scratch, darker or lighter, with raised metal along one side."""
    height, width = scene.size
    y, x = scene.random_pixel(rng)
    length, angle = rng.uniform(0.05, 0.25) * min(height, width), rng.uniform(0, np.pi)
    bow = rng.uniform(-0.15, 0.15) * length
    t = np.linspace(-0.5, 0.5, 24)
    along, across = t * length, bow * (1 - 4 * t**2)
    path = np.stack(
        [
            x + along * np.cos(angle) - across * np.sin(angle),
            y + along * np.sin(angle) + across * np.cos(angle),
        ],
        axis=1,
    )
    thick = max(1, round(rng.uniform(0.003, 0.012) * min(height, width)))
    line = np.zeros((height, width), np.float32)
    rim = np.zeros_like(line)
    points = [path.round().astype(np.int32)]
    cv2.polylines(line, points, isClosed=False, color=1.0, thickness=thick, lineType=cv2.LINE_AA)
    points = [(path + thick).round().astype(np.int32)]
    cv2.polylines(rim, points, isClosed=False, color=1.0, thickness=1, lineType=cv2.LINE_AA)
    strength = rng.uniform(20, 90) * rng.choice([-1.0, 1.0])
    return to_bytes(scene.image + strength * line[..., None] - 0.5 * strength * rim[..., None])


@dataclass(frozen=True)
class _Blob:
    """A soft-edged shape: its coverage (0 to 1) of each pixel in a window of the image."""

    window: tuple[slice, slice]
    share: Field

    def fill(
        self, image: Pixels, content: npt.NDArray[np.floating], opacity: float = 1.0
    ) -> Pixels:
        """The image with `content`, of the size of the window, in the shape."""
        filled = image.copy()
        filled[self.window] = _blend(image[self.window], content, opacity * self.share)
        return filled


def _draw_blob(scene: Scene, rng: np.random.Generator) -> _Blob:
    """A blob on the part with an edge of Perlin noise; small ones are more frequent."""
    height, width = scene.size
    y, x = scene.random_pixel(rng)
    radius = min(height, width) * float(np.exp(rng.uniform(np.log(0.012), np.log(0.12))))
    radius = max(radius, 1.5)
    stretch, angle = float(np.exp(rng.uniform(-0.8, 0.8))), rng.uniform(0, np.pi)
    reach = int(np.ceil((1 + _RAGGED) * radius * max(stretch, 1 / stretch))) + 1
    top, left = max(0, y - reach), max(0, x - reach)
    bottom, right = min(height, y + reach + 1), min(width, x + reach + 1)
    down, across = np.mgrid[top:bottom, left:right].astype(np.float32)
    u = (across - x) * np.cos(angle) + (down - y) * np.sin(angle)
    v = (down - y) * np.cos(angle) - (across - x) * np.sin(angle)
    distance = np.hypot(u / stretch, v * stretch) / radius
    per_height, per_width = (int(count) for count in rng.integers(8, 33, 2))  # of the whole image
    cells = (-(-per_height * (bottom - top) // height), -(-per_width * (right - left) // width))
    ragged = distance + _RAGGED * perlin_noise(distance.shape, cells, rng)
    soft = max(0.05, 1.0 / radius)
    share = np.clip((1 - ragged) / soft, 0, 1).astype(np.float32)
    return _Blob((slice(top, bottom), slice(left, right)), share)


def _blend(
    image: Pixels, content: npt.NDArray[np.floating], share: npt.NDArray[np.float32]
) -> Pixels:
    covered = share[..., None]
    return to_bytes(image * (1 - covered) + content * covered)
