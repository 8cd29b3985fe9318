"""Rows of images: the photo with its true defects, and the map of every method over it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import cv2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from loco_tools.benchmark.analysis.run_data import KIND_NAMES, ClassResults
from loco_tools.benchmark.analysis.segmentation import false_share, small_defects, spro
from loco_tools.benchmark.cell import thumbnails
from loco_tools.benchmark.cell.record import Score, defect_types
from loco_tools.benchmark.report.html import Child, element, join
from loco_tools.benchmark.report.images import MethodMaps, SelectedImage
from loco_tools.datasets.images import Pixels, data_url, webp_data_url
from loco_tools.datasets.sample import Sample
from loco_tools.errors import LocoToolsError

_QUALITY, _ALPHA_QUALITY = 75, 40

_TOLERANCE_PX = 0.5
"""Largest error of a simplified outline, in pixels of a small map."""

_RAMP = np.array(
    [[40, 8, 75], [120, 28, 109], [190, 55, 84], [237, 105, 37], [252, 181, 25], [252, 250, 160]],
    dtype=np.float32,
)
"""RGB from cold to hot; lightness rises all the way, so it reads without colour vision too."""


@dataclass(frozen=True)
class ClassImages:
    """The test images of a class, with their masks and the maps of every method.

    `above` is, per method, the share of good test images that each image outscores; `linked` are
    the images that the interactive view holds.
    """

    results: ClassResults
    scores: Sequence[Score]
    samples: Mapping[str, Sample]
    maps: Sequence[MethodMaps]
    above: Mapping[str, Sequence[float]]
    linked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Tile:
    """One picture of a row, with its name and what it shows in words."""

    name: str
    picture: Markup
    label: str
    words: str = ""


@dataclass(frozen=True)
class ImageRow:
    """One image of the gallery, as `images.html` shows it; `fault` says why it cannot be shown."""

    name: str
    kind: str = ""
    kind_name: str = ""
    defects: str = ""
    reason: str = ""
    link: str = ""
    tiles: tuple[Tile, ...] = ()
    fault: str = ""


def image_rows(key: str, images: ClassImages, selected: Sequence[SelectedImage]) -> list[ImageRow]:
    """One row per image: the photo with its true defects, then every method's map over it.

    Images that are no longer in the class are left out.

    Args:
        key: opens the ids of the pictures, unlike that of any other rows of the page.
        images: those of the class.
        selected: the images to show.
    """
    indices = [one.index for one in selected]
    maps = {one.method: one.read(indices) for one in images.maps}
    rows = []
    for number, one in enumerate(selected):
        score = images.scores[one.index]
        sample = images.samples.get(f"{score.kind_folder}/{score.id}")
        if sample is None:
            continue
        try:
            rows.append(_image_row(f"{key}i{number}", images, sample, one, maps))
        except LocoToolsError as error:
            rows.append(ImageRow(sample.id, fault=str(error)))
    return rows


def image_link(class_name: str, key: str) -> str:
    """Where the interactive view shows an image, behind the page's address."""
    return f"image={quote(class_name, safe='')}/{quote(key, safe='/')}"


def small_photo(sample: Sample) -> Pixels:
    """The image at the size of its small maps, (h, w, 3) uint8."""
    return thumbnails.shrink(sample.image()).round().astype(np.uint8)


def _image_row(
    key: str,
    images: ClassImages,
    sample: Sample,
    selected: SelectedImage,
    maps: Mapping[str, Mapping[int, Pixels]],
) -> ImageRow:
    photo = small_photo(sample)
    size = photo.shape[0], photo.shape[1]
    defects = small_defects(sample, size)
    outlines = [_outline(defect.mask, size, defect.kind) for defect in sample.defects]
    data = data_url(photo, "jpeg", quality=_QUALITY)
    source = element("image", id=f"{key}p", href=data, width=size[1], height=size[0])
    names = ", ".join(defect_types(sample)) or "no defect"
    label = f"{KIND_NAMES[sample.kind]} image {sample.id}, {names}"
    ground_truth = element("g", outlines, id=f"{key}t", class_="truth")
    tiles = [Tile("image", _svg(label, size, source, ground_truth), label)]
    for one in images.maps:
        heat = maps[one.method][selected.index]
        others = "other good" if sample.kind == "good" else "good"
        words = f"above {images.above[one.method][selected.index]:.0%} of the {others} images"
        segmentation = None
        if one.level is not None:
            outline = _outline(heat >= one.level, size, "found")
            segmentation = element("g", outline, class_="lit")
            if all(heat.shape == defect.mask.shape for defect in defects):
                share = spro(heat, defects, one.level)
                words += "" if share is None else f", sPRO {share:.2f}"
                words += f", false area {false_share(heat, defects, one.level):.1%}"
        described = f"{label}: map of {one.method}, {words}"
        picture = _svg(
            described,
            size,
            element("use", href=f"#{key}p"),
            element("image", href=_heat_url(heat), width=size[1], height=size[0], class_="heat"),
            segmentation,
            element("use", href=f"#{key}t"),
        )
        tiles.append(Tile(one.method, picture, described, words))
    name = f"{sample.kind_folder}/{sample.id}"
    link = image_link(images.results.name, name) if name in images.linked else ""
    kind_name = KIND_NAMES[sample.kind]
    return ImageRow(name, sample.kind, kind_name, names, selected.reason, link, tuple(tiles))


def _svg(label: str, size: tuple[int, int], *layers: Child) -> Markup:
    view = f"0 0 {size[1]} {size[0]}"
    return element("svg", *layers, aria_label=label, viewBox=view, role="img")


def _outline(mask: npt.NDArray[np.bool_], size: tuple[int, int], kind: str) -> Markup:
    """The border of a mask as a path in thumbnail coordinates, within half a thumbnail pixel."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    scale = np.array([size[1] / mask.shape[1], size[0] / mask.shape[0]])
    steps = []
    for contour in contours:
        points = ((contour[:, 0] + 0.5) * scale).astype(np.float32)
        kept = cv2.approxPolyDP(points[:, None], _TOLERANCE_PX, closed=True)[:, 0]
        steps.append("M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in kept) + "Z")
    path = "".join(steps)
    return join(element("path", d=path, class_="casing"), element("path", d=path, class_=kind))


def _heat_url(heat: Pixels) -> str:
    """A map as a transparent picture: colder parts let the photo through."""
    level = heat.astype(np.float32) / 255
    stops = np.linspace(0, 1, len(_RAMP))
    colour = np.stack([np.interp(level, stops, _RAMP[:, c]) for c in range(3)], axis=-1)
    alpha = np.clip(1.6 * level, 0, 1)[..., None] * 255
    rgba = np.concatenate([colour, alpha], axis=-1).round().astype(np.uint8)
    return webp_data_url(rgba, quality=_QUALITY, alpha_quality=_ALPHA_QUALITY)


def ramp() -> list[list[int]]:
    """The colours of the maps from cold to hot, RGB at equal steps."""
    return [[int(value) for value in colour] for colour in _RAMP]


def heat_legend(key: str) -> Markup:
    """The colours of the maps from cold to hot, as a bar; `key` is an id of its own."""
    stops = []
    for i, colour in enumerate(ramp()):
        hexadecimal = "#" + "".join(f"{value:02x}" for value in colour)
        offset = f"{100 * i / (len(_RAMP) - 1):.0f}%"
        stops.append(element("stop", offset=offset, stop_color=hexadecimal))
    gradient = element("defs", element("linearGradient", stops, id=key))
    bar = element("rect", width=120, height=10, rx=3, fill=f"url(#{key})")
    return element("svg", gradient, bar, viewBox="0 0 120 10", class_="ramp", aria_hidden="true")
