"""The report's gallery: test images with the true defects and each method's map, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.benchmark import thumbnails
from loco_tools.benchmark.cells import Score, defect_types
from loco_tools.benchmark.report.markup import Markup, element, join
from loco_tools.benchmark.report_data import (
    KIND_NAMES,
    ClassResults,
    ReportData,
    share_of_good_below,
)
from loco_tools.datasets import load
from loco_tools.datasets.images import Pixels, data_url
from loco_tools.datasets.sample import Sample
from loco_tools.errors import LocoToolsError

IMAGES_PER_CLASS = 24
GOOD_PER_CLASS = 3
BYTES_PER_TILE = 9_000
"""A generous guess for one embedded picture, photo or map."""

BUDGET_BYTES = 9_000_000
"""What all galleries of a report may take; many classes and methods get fewer images each."""

_QUALITY = 78

RULE = (
    "Chosen by rule, not by hand: for each defect type the images that the methods together find "
    "hardest, easiest and in the middle, then the good images that look most suspicious. "
    "“Together” is the mean over methods of the share of good test images that an image outscores."
)

_RAMP = np.array(
    [[40, 8, 75], [120, 28, 109], [190, 55, 84], [237, 105, 37], [252, 181, 25], [252, 250, 160]],
    dtype=np.float32,
)
"""RGB from cold to hot; lightness rises all the way, so it reads without colour vision too."""


@dataclass(frozen=True)
class Picked:
    """An image of the gallery: its place in the test set, and why it is there."""

    index: int
    reason: str


def gallery(data: ReportData, results: ClassResults) -> Markup:
    """The gallery of one class; a sentence instead where the images cannot be read any more."""
    shown = results.shown
    scores = {record.stamp.method: data.scores(record.cell) for record in shown}
    try:
        samples = {(s.kind_folder, s.id): s for s in load(results.path).test}
    except (LocoToolsError, OSError) as error:
        return element("p", f"The images cannot be shown: {error}", class_="note")
    first = next(iter(scores.values()))
    shares = {method: share_of_good_below(found) for method, found in scores.items()}
    chosen = pick(first, shares, limit=_room(data))
    maps = {
        record.stamp.method: thumbnails.read_maps(
            record.cell.folder(data.out) / "thumbnails.npz", [one.index for one in chosen]
        )
        for record in shown
    }
    rows = []
    for number, one in enumerate(chosen):
        sample = samples.get((first[one.index].kind_folder, first[one.index].id))
        if sample is not None:
            key = f"c{data.classes.index(results)}i{number}"
            heats = {method: found[one.index] for method, found in maps.items()}
            above = {method: share[one.index] for method, share in shares.items()}
            rows.append(_row(key, sample, one.reason, heats, above))
    simulated = any(i.simulated for i in data.run.classes if i.name == results.name)
    what = "Simulated images, not photographs." if simulated else None
    return element("div", element("p", what, class_="note") if what else None, rows)


def pick(
    scores: Sequence[Score],
    shares: Mapping[str, Sequence[float]],
    *,
    limit: int = IMAGES_PER_CLASS,
) -> list[Picked]:
    """Choose images by `RULE`, at most `limit`, defect types in turn.

    Args:
        scores: the test images.
        shares: per method, the share of good images that each image outscores.
        limit: images at most.
    """
    together = np.mean([list(share) for share in shares.values()], axis=0)
    good = [i for i in np.argsort(-together, kind="stable") if scores[i].kind == "good"]
    reserved = min(GOOD_PER_CLASS, len(good), max(1, limit // 4))
    picked: dict[int, Picked] = {}
    for index, reason in _by_type(scores, together):
        if len(picked) < limit - reserved and index not in picked:
            picked[index] = Picked(index, reason)
    order = sorted(picked, key=lambda i: (scores[i].kind, scores[i].defects, together[i]))
    chosen = [picked[index] for index in order]
    return chosen + [Picked(int(i), "good, yet suspicious") for i in good[:reserved]]


def _by_type(
    scores: Sequence[Score], together: npt.NDArray[np.float64]
) -> Iterator[tuple[int, str]]:
    """Hardest of every type, then easiest of every type, then the middle ones."""
    types = sorted({(s.kind, name) for s in scores for name in s.defects})
    ranked = {
        name: sorted(
            (i for i, s in enumerate(scores) if name in s.defects), key=lambda i: together[i]
        )
        for _kind, name in types
    }
    for place, reason in ((0.0, "hardest"), (1.0, "easiest"), (0.5, "in the middle")):
        for name, images in ranked.items():
            yield images[round(place * (len(images) - 1))], f"{reason} of {name}"


def _room(data: ReportData) -> int:
    classes = sum(1 for one in data.classes if one.done) or 1
    per_image = BYTES_PER_TILE * (len(data.methods) + 2)
    return max(4, min(IMAGES_PER_CLASS, BUDGET_BYTES // (classes * per_image)))


def _row(
    key: str,
    sample: Sample,
    reason: str,
    heats: Mapping[str, Pixels],
    above: Mapping[str, float],
) -> Markup:
    """One image: the photo with its truth, then every method's map over the same photo."""
    try:
        photo = thumbnails.shrink(sample.image()).round().astype(np.uint8)
        height, width = photo.shape[:2]
        outlines = [_outline(d.mask, (height, width), d.kind) for d in sample.defects]
    except LocoToolsError as error:
        return element("p", f"Image {sample.id} cannot be shown: {error}", class_="note")
    view = {"viewBox": f"0 0 {width} {height}", "role": "img"}
    source = element(
        "image",
        id=f"{key}p",
        href=data_url(photo, "jpeg", quality=_QUALITY),
        width=width,
        height=height,
    )
    truth = element("g", outlines, id=f"{key}t", class_="truth")
    names = ", ".join(defect_types(sample)) or "no defect"
    label = f"{KIND_NAMES[sample.kind]} image {sample.id}, {names}"
    tiles = [_tile(label, element("svg", source, truth, aria_label=label, **view), "image")]
    for method, heat in heats.items():
        others = "other good" if sample.kind == "good" else "good"
        words = f"above {above[method]:.0%} of the {others} images"
        layers = (
            element("use", href=f"#{key}p"),
            element("image", href=_heat(heat), width=width, height=height, class_="heat"),
            element("use", href=f"#{key}t"),
        )
        spoken = f"{label}: map of {method}, {words}"
        drawn = element("svg", *layers, aria_label=spoken, **view)
        tiles.append(_tile(spoken, drawn, method, words))
    heading = element(
        "figcaption",
        element("span", KIND_NAMES[sample.kind], class_=f"pill {sample.kind}"),
        " ",
        element("strong", names),
        element("span", f" · {sample.kind_folder}/{sample.id} · {reason}", class_="quiet"),
    )
    strip = element("div", tiles, class_="strip")
    return element("figure", heading, strip, class_="row", data_kind=sample.kind)


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
        kept = cv2.approxPolyDP(points[:, None], 0.4, closed=True)[:, 0]
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
    return data_url(rgba, "webp", quality=_QUALITY)


def heat_legend() -> Markup:
    """The colours of the maps from cold to hot, as a bar."""
    stops = [
        element("stop", offset=f"{100 * i / (len(_RAMP) - 1):.0f}%", stop_color=_css(colour))
        for i, colour in enumerate(_RAMP)
    ]
    ramp = element("linearGradient", stops, id="ramp")
    bar = element("rect", width=120, height=10, rx=3, fill="url(#ramp)")
    return element(
        "svg", element("defs", ramp), bar, viewBox="0 0 120 10", class_="ramp", aria_hidden="true"
    )


def _css(colour: npt.NDArray[np.float32]) -> str:
    return "#" + "".join(f"{int(c):02x}" for c in colour)
