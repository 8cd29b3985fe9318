"""The report's gallery: test images with the true defects and each method's map, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.benchmark.analysis.run_data import KIND_NAMES, ClassResults
from loco_tools.benchmark.analysis.segmentation import SmallDefect, false_share, small_defects, spro
from loco_tools.benchmark.cell import thumbnails
from loco_tools.benchmark.cell.record import Score, defect_types
from loco_tools.benchmark.report.html import Child, Markup, element, join
from loco_tools.benchmark.report.images import MethodMaps, Picked
from loco_tools.datasets.images import Pixels, data_url, webp_data_url
from loco_tools.datasets.sample import Sample
from loco_tools.errors import LocoToolsError

_QUALITY, _ALPHA_QUALITY = 75, 40

_TOLERANCE_PX = 0.5
"""How far outlines may lie from where they are, in pixels of a small map."""

_RAMP = np.array(
    [[40, 8, 75], [120, 28, 109], [190, 55, 84], [237, 105, 37], [252, 181, 25], [252, 250, 160]],
    dtype=np.float32,
)
"""RGB from cold to hot; lightness rises all the way, so it reads without colour vision too."""


@dataclass(frozen=True)
class Shown:
    """What rows of a class are made of: its test images, masks, and every method's maps.

    `above` is, per method, the share of good test images that each image outscores; `linked` are
    the images that the interactive view holds.
    """

    results: ClassResults
    scores: Sequence[Score]
    samples: Mapping[str, Sample]
    maps: Sequence[MethodMaps]
    above: Mapping[str, Sequence[float]]
    linked: frozenset[str] = frozenset()


def rows(key: str, shown: Shown, chosen: Sequence[Picked]) -> list[Markup]:
    """One row per image; a sentence instead where an image cannot be read any more.

    Args:
        key: opens the ids of the pictures, unlike that of any other rows of the page.
        shown: the class.
        chosen: the images.
    """
    indices = [one.index for one in chosen]
    levels = {one.method: one.read(indices) for one in shown.maps}
    found = []
    for number, one in enumerate(chosen):
        score = shown.scores[one.index]
        sample = shown.samples.get(f"{score.kind_folder}/{score.id}")
        if sample is not None:
            heats = {method: maps[one.index] for method, maps in levels.items()}
            found.append(_row(f"{key}i{number}", shown, sample, one, heats))
    return found


def image_link(class_name: str, key: str) -> str:
    """Where the interactive view shows an image, behind the page's address."""
    return f"image={quote(class_name, safe='')}/{quote(key, safe='/')}"


def small_photo(sample: Sample) -> Pixels:
    """The image at the size of its small maps, (h, w, 3) uint8."""
    return thumbnails.shrink(sample.image()).round().astype(np.uint8)


def _row(
    key: str, shown: Shown, sample: Sample, picked: Picked, heats: Mapping[str, Pixels]
) -> Markup:
    """One image: the photo with its truth, then every method's map over the same photo."""
    try:
        photo = small_photo(sample)
        size = photo.shape[0], photo.shape[1]
        outlines = [_outline(d.mask, size, d.kind) for d in sample.defects]
        defects = small_defects(sample, size)
    except LocoToolsError as error:
        return element("p", f"Image {sample.id} cannot be shown: {error}", class_="note")
    source = element(
        "image",
        id=f"{key}p",
        href=data_url(photo, "jpeg", quality=_QUALITY),
        width=size[1],
        height=size[0],
    )
    truth = element("g", outlines, id=f"{key}t", class_="truth")
    names = ", ".join(defect_types(sample)) or "no defect"
    label = f"{KIND_NAMES[sample.kind]} image {sample.id}, {names}"
    tiles = [_tile(label, _svg(label, size, source, truth), "image")]
    for one in shown.maps:
        heat = heats[one.method]
        others = "other good" if sample.kind == "good" else "good"
        words = f"above {shown.above[one.method][picked.index]:.0%} of the {others} images"
        words += _cut(one.level, heat, defects)
        lit = None if one.level is None else _outline(heat >= one.level, size, "found")
        spoken = f"{label}: map of {one.method}, {words}"
        layers = (
            element("use", href=f"#{key}p"),
            element("image", href=_heat(heat), width=size[1], height=size[0], class_="heat"),
            element("g", lit, class_="lit") if lit is not None else None,
            element("use", href=f"#{key}t"),
        )
        tiles.append(_tile(spoken, _svg(spoken, size, *layers), one.method, words))
    strip = element("div", tiles, class_="strip")
    heading = _heading(shown, sample, names, picked.reason)
    return element("figure", heading, strip, class_="row", data_kind=sample.kind)


def _svg(label: str, size: tuple[int, int], *layers: Child) -> Markup:
    view = f"0 0 {size[1]} {size[0]}"
    return element("svg", *layers, aria_label=label, viewBox=view, role="img")


def _cut(level: int | None, heat: Pixels, defects: Sequence[SmallDefect]) -> str:
    """What the segmentation at a threshold covers, where there is a threshold."""
    if level is None or any(heat.shape != defect.mask.shape for defect in defects):
        return ""
    share = spro(heat, defects, level)
    covered = "" if share is None else f", sPRO {share:.2f}"
    return f"{covered}, false area {false_share(heat, defects, level):.1%}"


def _heading(shown: Shown, sample: Sample, names: str, reason: str) -> Markup:
    key = f"{sample.kind_folder}/{sample.id}"
    place: Markup | str = key
    if key in shown.linked:
        place = element("a", key, href=f"#{image_link(shown.results.name, key)}")
    return element(
        "figcaption",
        element("span", KIND_NAMES[sample.kind], class_=f"pill {sample.kind}"),
        " ",
        element("strong", names),
        element("span", " · ", place, f" · {reason}", class_="quiet"),
    )


def _tile(spoken: str, picture: Markup, name: str, words: str = "") -> Markup:
    button = element(
        "button", picture, type="button", class_="tile", aria_label=f"Enlarge: {spoken}"
    )
    caption = element("span", element("b", name), element("br") if words else None, words)
    return element("div", button, caption, class_="cell")


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


def _heat(heat: Pixels) -> str:
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
    stops = [
        element("stop", offset=f"{100 * i / (len(_RAMP) - 1):.0f}%", stop_color=_css(colour))
        for i, colour in enumerate(_RAMP)
    ]
    gradient = element("linearGradient", stops, id=key)
    bar = element("rect", width=120, height=10, rx=3, fill=f"url(#{key})")
    return element(
        "svg",
        element("defs", gradient),
        bar,
        viewBox="0 0 120 10",
        class_="ramp",
        aria_hidden="true",
    )


def _css(colour: npt.NDArray[np.float32]) -> str:
    return "#" + "".join(f"{int(c):02x}" for c in colour)
