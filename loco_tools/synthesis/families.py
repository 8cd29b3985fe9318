"""Anomalies made from held-out good images, to weigh and calibrate members by.

Members that learned from synthetic anomalies themselves look too certain on their own kind, so
what is made here is made otherwise: structural ones after CutPaste (Li et al. 2021) and as stains
of Perlin's shape, logical ones by copying and removing connected components. Only the family
"texture" is DRAEM's recipe; it is left out where a member learned from it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels, Size, resize_image
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.synthesis.draem import augmented
from loco_tools.synthesis.perlin import Field, Mask, perlin_noise, turned
from loco_tools.synthesis.textures import ProceduralTextures

_TRIES = 20
_FEWEST_PX = 6
"""Fewer changed pixels are no anomaly that a detector could be asked to find."""
_LEAST_CHANGE = 6.0
"""Grey levels by which a pixel has to differ to count as changed."""
_TEXTURE_PX = 96
"""Sides of a foreign texture, at least: of its middle is cut what a blob shows of it. One as large
as the image took longer to make than all the rest of the anomaly."""
_RAGGED = 0.6
"""How far noise moves a blob's edge, in radii."""


Box = tuple[int, int, int, int]
"""y, x, height and width, in pixels."""


@dataclass(frozen=True)
class Synthetic:
    """A good image with anomalies made in it.

    Attributes:
        image: (H, W, 3) uint8.
        masks: of every anomaly the pixels that it changed, (H, W) bool.
        families: what each is.
        source: index of the good image.
    """

    image: Pixels
    masks: tuple[Mask, ...]
    families: tuple[str, ...]
    source: int

    @property
    def mask(self) -> Mask:
        """(H, W) bool: every pixel that was changed."""
        covered: Mask = np.logical_or.reduce(self.masks)
        return covered


def synthetic_anomalies(
    images: Sequence[Pixels],
    count: int,
    *,
    seed: int,
    families: Sequence[str] | None = None,
    each: int = 1,
    size: Size | None = None,
) -> Iterator[Synthetic]:
    """Anomalies made in good images, families and sources in turn.

    Args:
        images: good ones that no member has learned from, (H, W, 3) uint8 each.
        count: how many images to make.
        each: anomalies in each of them; a later one may cover an earlier one.
        seed: the same seed and images give the same anomalies.
        families: of `FAMILIES`; None: all of them.
        size: (h, w) at which detectors see the images. Larger ones are shrunk to it first, since an
            anomaly in 5 million pixels takes more than half a second to make.

    Raises:
        MethodError: no images, or an unknown family.
    """
    names = list(FAMILIES if families is None else families)
    for name in names:
        if name not in FAMILIES:
            raise MethodError(
                f'unknown family of anomalies "{name}"; {did_you_mean(name, FAMILIES)}'
            )
    if not images or not names:
        raise MethodError("expected good images and families to make anomalies from, got none")
    order = np.random.default_rng(seed).permutation(len(images))
    for number in range(count):
        source = int(order[number % len(images)])
        rng = np.random.default_rng([seed, number])
        chosen = tuple(names[(number * each + k) % len(names)] for k in range(each))
        image, masks = _shrunk(images[source], size), []
        for family in chosen:
            image, mask = _changed(image, family, rng)
            masks.append(mask)
        yield Synthetic(image, tuple(masks), chosen, source)


class Scene:
    """An image, and what is asked of it for every anomaly that is tried in it; found out once.

    Attributes:
        image: (H, W, 3) uint8.
        size: (H, W).
    """

    def __init__(self, image: Pixels) -> None:
        self.image = image
        self.size = _size(image)
        self._things: dict[int, list[Box]] = {}

    def place(self, rng: np.random.Generator) -> tuple[int, int]:
        """A pixel (y, x) of the part."""
        y, x = divmod(int(rng.choice(self._places)), self.size[1])
        return y, x

    def things(self, reach: int) -> list[Box]:
        """Boxes round what stands out from the part and is some `reach` pixels large."""
        if reach not in self._things:
            self._things[reach] = _things(self.image, self._part, reach)
        return self._things[reach]

    @cached_property
    def _part(self) -> Mask:
        return foreground(self.image)

    @cached_property
    def _places(self) -> npt.NDArray[np.intp]:
        return np.flatnonzero(self._part)


def _shrunk(image: Pixels, size: Size | None) -> Pixels:
    if size is None or image.shape[0] * image.shape[1] <= size[0] * size[1]:
        return image
    return resize_image(image, size)


Changed = tuple[Pixels, Mask]


def _changed(image: Pixels, family: str, rng: np.random.Generator) -> Changed:
    """The image after one anomaly of that family, or of another where none can be placed."""
    scene = Scene(image)
    made = _made(scene, family, rng) or _made(scene, "stain", rng)
    # a picture without any contrast: any change will do
    return _square(image, rng) if made is None else made


def _made(scene: Scene, family: str, rng: np.random.Generator) -> Changed | None:
    """The image after one anomaly and where it changed; None when none could be placed."""
    for _ in range(_TRIES):
        changed = FAMILIES[family](scene, rng)
        if changed is None:
            continue
        red, green, blue = cv2.split(cv2.absdiff(changed, scene.image))
        mask = cv2.max(cv2.max(red, green), blue) >= _LEAST_CHANGE
        if mask.sum() >= _FEWEST_PX:
            return changed, _closed(mask)
    return None


def _square(image: Pixels, rng: np.random.Generator) -> Changed:
    height, width = image.shape[:2]
    y, x = int(rng.integers(height)), int(rng.integers(width))
    mask = np.zeros((height, width), np.bool_)
    mask[max(0, y - height // 20) : y + height // 20 + 1, max(0, x - 4) : x + 5] = True
    return np.where(mask[..., None], 255 - image, image).astype(np.uint8), mask


def texture(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """Blobs of a foreign texture, more or less transparent (DRAEM's recipe, smaller)."""
    blob = _blob(scene, rng)
    h, w = blob.share.shape
    size = (max(_TEXTURE_PX, h), max(_TEXTURE_PX, w))
    foreign = augmented(ProceduralTextures()(size, rng), rng)
    top, left = (size[0] - h) // 2, (size[1] - w) // 2
    shown = foreign[top : top + h, left : left + w].astype(np.float32)
    return blob.filled(scene.image, shown, rng.uniform(0.2, 0.8))


def stain(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A blob that is darker, lighter or of another tint; its structure stays."""
    blob, image = _blob(scene, rng), scene.image
    strength = rng.uniform(12, 80) * rng.choice([-1.0, 1.0])
    tint = rng.normal(0, 0.35 * (rng.random() < 0.3), 3)
    return blob.filled(image, image[blob.window] + strength * (1 + tint))


def smear(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A blob in which structure is wiped out along one direction."""
    image = scene.image
    length = max(5, int(rng.uniform(0.02, 0.07) * min(scene.size))) | 1
    level = np.zeros((length, length), np.float32)
    level[length // 2] = 1
    kernel = turned(level, rng.uniform(-90, 90))
    blob = _blob(scene, rng)
    wiped = cv2.filter2D(image[blob.window], -1, kernel / kernel.sum())
    return blob.filled(image, wiped.astype(np.float32))


def cut_paste(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A rectangle of the image, jittered and turned, in another place of it."""
    height, width = scene.size
    area, ratio = rng.uniform(0.002, 0.02) * height * width, np.exp(rng.uniform(-1.2, 1.2))
    h, w = _within(np.sqrt(area * ratio), height), _within(np.sqrt(area / ratio), width)
    return _pasted(scene, _piece(scene, h, w, rng), rng)


def scar(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A long thin scratch: darker or lighter, with its metal thrown up beside it."""
    height, width = scene.size
    y, x = scene.place(rng)
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
    spots = [path.round().astype(np.int32)]
    cv2.polylines(line, spots, isClosed=False, color=1.0, thickness=thick, lineType=cv2.LINE_AA)
    beside = [(path + thick).round().astype(np.int32)]
    cv2.polylines(rim, beside, isClosed=False, color=1.0, thickness=1, lineType=cv2.LINE_AA)
    strength = rng.uniform(20, 90) * rng.choice([-1.0, 1.0])
    changed = scene.image + strength * line[..., None] - 0.5 * strength * rim[..., None]
    return _bytes(changed)


def copy_move(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A thing of the picture (a hole, a screw, a mark) once more where none belongs."""
    found = _component(scene, rng)
    if found is None:
        return None
    if rng.random() < 0.7:
        return _moved(scene.image, found, scene.place(rng))
    return _moved(scene.image, found, scene.place(rng), scale=float(rng.uniform(0.7, 1.4)))


def removal(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A thing of the picture gone: its place is filled with what surrounds it."""
    found = _component(scene, rng)
    if found is None:
        return None
    image = scene.image
    y, x, h, w = found
    hole = np.zeros(scene.size, np.uint8)
    hole[y : y + h, x : x + w] = 255
    around = max(8, h // 2, w // 2)
    top, left = max(0, y - around), max(0, x - around)
    part = np.s_[top : y + h + around, left : x + w + around]
    changed = image.copy()
    changed[part] = cv2.inpaint(image[part].copy(), hole[part].copy(), 3, cv2.INPAINT_TELEA)
    ring = np.zeros_like(hole)
    ring[part] = 255
    ring[y : y + h, x : x + w] = 0
    noise = image[ring > 0].astype(np.float32)
    grain = rng.normal(0, 0.25 * float(noise.std(axis=0).mean()), (h, w, 1))
    filled = changed[y : y + h, x : x + w] + grain
    changed[y : y + h, x : x + w] = _bytes(filled)
    return changed


FAMILIES: dict[str, Callable[[Scene, np.random.Generator], Pixels | None]] = {
    "stain": stain,
    "cut_paste": cut_paste,
    "copy_move": copy_move,
    "scar": scar,
    "removal": removal,
    "smear": smear,
    "texture": texture,
}
"""Name -> what makes one; None when the picture offers no place for it this time."""

LEARNED_FROM = ("texture",)
"""DRAEM's recipe: a member that was trained on it looks too certain there."""

LOGICAL = ("copy_move", "removal")
"""Families whose parts all look right and whose arrangement does not."""


def _size(image: Pixels) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _bytes(values: npt.NDArray[np.floating]) -> Pixels:
    return np.clip(values, 0, 255).round().astype(np.uint8)


def _within(length: float, most: int) -> int:
    return int(np.clip(round(float(length)), 3, max(3, most // 2)))


def foreground(image: Pixels) -> Mask:
    """(H, W): where the part lies, by Otsu's threshold; everything where that tells little.

    The part is whichever side of the threshold touches the border less.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    light = grey > level
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    part = ~light if border.mean() > 0.5 else light
    on_border = border.mean() if border.mean() <= 0.5 else 1 - border.mean()
    if on_border > 0.1 or not 0.05 < part.mean() < 0.95:
        return np.ones(_size(image), np.bool_)
    return part.astype(np.bool_)


@dataclass(frozen=True)
class _Blob:
    """A soft-edged shape: how much of each pixel of a window of the image it covers, 0 to 1."""

    window: tuple[slice, slice]
    share: Field

    def filled(
        self, image: Pixels, other: npt.NDArray[np.floating], opacity: float = 1.0
    ) -> Pixels:
        """The image with something else, the size of the window, in the shape."""
        filled = image.copy()
        filled[self.window] = _blended(image[self.window], other, opacity * self.share)
        return filled


def _blob(scene: Scene, rng: np.random.Generator) -> _Blob:
    """One blob of Perlin's shape on the part, small more often than large."""
    height, width = scene.size
    y, x = scene.place(rng)
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


def _blended(
    image: Pixels, other: npt.NDArray[np.floating], share: npt.NDArray[np.float32]
) -> Pixels:
    covered = share[..., None]
    return _bytes(image * (1 - covered) + other * covered)


def _piece(scene: Scene, h: int, w: int, rng: np.random.Generator) -> Pixels:
    """(h, w, 3) from anywhere on the part, turned by quarters and a little lighter or darker."""
    image = scene.image
    y, x = scene.place(rng)
    top = int(np.clip(y - h // 2, 0, image.shape[0] - h))
    left = int(np.clip(x - w // 2, 0, image.shape[1] - w))
    piece = image[top : top + h, left : left + w].astype(np.float32)
    if rng.random() < 0.5:
        piece = np.flip(piece, int(rng.integers(2)))
    return _bytes(piece * rng.uniform(0.75, 1.25) + rng.uniform(-15, 15))


def _pasted(scene: Scene, piece: Pixels, rng: np.random.Generator) -> Pixels:
    """The piece, turned by any angle, at a place of the part."""
    height, width = scene.size
    h, w = piece.shape[:2]
    y, x = scene.place(rng)
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), rng.uniform(-180, 180), 1.0)
    turn = turn + np.array([[0, 0, x - w / 2], [0, 0, y - h / 2]])
    moved = cv2.warpAffine(piece, turn, (width, height), flags=cv2.INTER_LINEAR)
    shape = cv2.warpAffine(np.ones((h, w), np.float32), turn, (width, height))
    return _blended(scene.image, moved.astype(np.float32), shape.astype(np.float32))


def _moved(image: Pixels, box: Box, to: tuple[int, int], scale: float = 1.0) -> Pixels | None:
    """What is in a box (y, x, h, w) once more about another place, with feathered edges."""
    y, x, h, w = box
    piece: npt.NDArray[np.float32] = image[y : y + h, x : x + w].astype(np.float32)
    if scale != 1.0:
        larger = cv2.resize(piece, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        piece = larger.astype(np.float32)
        h, w = piece.shape[:2]
    top, left = to[0] - h // 2, to[1] - w // 2
    if top < 0 or left < 0 or top + h > image.shape[0] or left + w > image.shape[1]:
        return None
    if abs(top - y) < h and abs(left - x) < w:
        return None
    down, across = np.mgrid[:h, :w].astype(np.float32)
    inside = np.hypot((down - (h - 1) / 2) / (h / 2), (across - (w - 1) / 2) / (w / 2))
    share = np.clip((1.05 - inside) / 0.25, 0, 1)[..., None]
    changed = image.copy()
    there = image[top : top + h, left : left + w]
    changed[top : top + h, left : left + w] = _bytes(there * (1 - share) + piece * share)
    return changed


def _component(scene: Scene, rng: np.random.Generator) -> Box | None:
    """A thing that stands out from the part, if there is one."""
    side = min(scene.size)
    boxes = scene.things(int(side * rng.choice([0.08, 0.14, 0.22])) | 1)
    return boxes[int(rng.integers(len(boxes)))] if boxes else None


def _things(image: Pixels, part: Mask, reach: int) -> list[Box]:
    """Boxes round connected things that stand out from the part.

    Things are what a median filter of their size, `reach` pixels, takes away.
    """
    height, width = _size(image)
    side = min(height, width)
    small = min(1.0, 160 / side)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, None, fx=small, fy=small, interpolation=cv2.INTER_AREA)
    smooth = cv2.medianBlur(grey, max(3, int(reach * small) | 1))
    apart = cv2.absdiff(grey, smooth)
    level, _ = cv2.threshold(apart, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if level < 8:
        return []
    _, _, stats, centres = cv2.connectedComponentsWithStats((apart > level).astype(np.uint8))
    boxes = []
    for (x, y, w, h, area), centre in zip(stats[1:], centres[1:], strict=True):
        fits = 0.02 * side <= max(w, h) / small <= 1.5 * reach and area >= 0.3 * w * h
        inside = x > 0 and y > 0 and x + w < grey.shape[1] and y + h < grey.shape[0]
        if not (fits and inside):
            continue
        row = min(int(centre[1] / small), height - 1)
        column = min(int(centre[0] / small), width - 1)
        near = part[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach]
        if near.mean() > 0.5:
            boxes.append(_enlarged((int(y), int(x), int(h), int(w)), small, (height, width)))
    return boxes


def _enlarged(box: Box, small: float, size: Size) -> Box:
    """A box found in an image shrunk by `small`, in the image itself and with a margin."""
    y, x, h, w = box
    margin = max(2, int(0.2 * max(w, h) / small))
    top, left = max(0, int(y / small) - margin), max(0, int(x / small) - margin)
    bottom = min(size[0], int((y + h) / small) + margin)
    right = min(size[1], int((x + w) / small) + margin)
    return top, left, bottom - top, right - left


def _closed(mask: Mask) -> Mask:
    """Small gaps filled, where a change happened to leave pixels as they were."""
    kernel = np.ones((3, 3), np.uint8)
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    return closed.astype(np.bool_)
