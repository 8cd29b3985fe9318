"""The interactive view of one image: what it shows, inside the page as data for its script."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loco_tools.benchmark.analysis import segmentation
from loco_tools.benchmark.analysis.error_analysis import Mistakes, key_of
from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.cell.record import defect_types
from loco_tools.benchmark.cell.thumbnails import HIGH_PERCENTILE, SIDE_PX
from loco_tools.benchmark.report.gallery import Shown, heat_legend, ramp, small_photo
from loco_tools.benchmark.report.html import Markup, element, join
from loco_tools.benchmark.report.images import Picked
from loco_tools.datasets.images import Pixels, data_url
from loco_tools.datasets.sample import Sample
from loco_tools.errors import LocoToolsError

BYTES_PER_PICTURE = 12_000
"""A generous guess for one embedded photo or map; maps are kept without loss."""

_PHOTO_QUALITY = 80

NOTE = (
    "Every method's map of one image over the photo. The threshold cuts the map of the chosen "
    "method into a segmentation (hatched)."
)

MEANING = (
    "sPRO says how much of each defect the segmentation covers, as far as the defect has to be "
    "covered, and “false area” how much of the rest it takes. The slider begins at the threshold "
    "that good validation images give (5 % of their pixels lie above). Maps, masks and figures "
    f"here are at reduced resolution (at most {SIDE_PX} pixels on the longer side, 256 levels "
    f"from the median to the {HIGH_PERCENTILE:g} % point of the method's maps): the figures of "
    "the tables are of the full size."
)


@dataclass(frozen=True)
class OfClass:
    """What the view has of a class: everything that rows are made of, which images, decisions."""

    shown: Shown
    chosen: Sequence[Picked]
    mistakes: Mistakes | None


def view(data: ReportData, classes: Sequence[OfClass]) -> Markup | None:
    """The view and its data; None where no image can be shown."""
    content = [found for one in classes if (found := _class(one))["images"]]
    if not content:
        return None
    everything = {"ramp": ramp(), "methods": data.methods, "classes": content}
    # "<" could end the script element inside the page
    text = json.dumps(everything, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    stored = Markup(f'<script type="application/json" id="view-data">{text}</script>')
    methods = element("div", id="view-methods", role="group", aria_label="Methods")
    shown = element("div", _stage(), _side(), methods, class_="view", id="view")
    return join(_controls(), shown, stored)


def _controls() -> Markup:
    def picker(name: str, label: str) -> Markup:
        return element("label", f"{label} ", element("select", id=f"view-{name}"))

    def button(name: str, label: str, spoken: str) -> Markup:
        return element(
            "button", label, type="button", id=f"view-{name}", class_="plainly", aria_label=spoken
        )

    return element(
        "div",
        picker("class", "Class"),
        picker("image", "Image"),
        button("previous", "‹", "previous image"),
        button("next", "›", "next image"),
        element("span", "cold ", heat_legend("view-ramp"), " hot"),
        class_="controls",
    )


def _stage() -> Markup:
    """The large picture, which takes the arrow keys."""
    large = element(
        "div",
        element("canvas", id="view-large", role="img", aria_label="map over the photo"),
        id="view-stage",
        tabindex="0",
        role="group",
        aria_label="Image: left and right for another image, up and down for another method, "
        "plus and minus for the threshold",
    )
    keys = element(
        "p",
        "Keys: ← → image, ↑ ↓ method, + − threshold, H heat on and off, D defects on and off.",
        class_="quiet",
    )
    return element("div", large, keys, class_="stage")


def _side() -> Markup:
    def slider(name: str, label: str, low: int, high: int, value: int) -> Markup:
        track = element(
            "input",
            type="range",
            id=f"view-{name}",
            min=str(low),
            max=str(high),
            value=str(value),
        )
        return element("label", label, track, element("output", id=f"view-{name}-says"))

    return element(
        "div",
        element("p", id="view-name", aria_live="polite"),
        slider("opacity", "Opacity of the map", 0, 100, 60),
        slider("threshold", "Threshold", 1, segmentation.TOP_LEVEL, 128),
        element(
            "label",
            element("input", type="checkbox", id="view-cut", checked=True),
            " segmentation at the threshold",
        ),
        element("fieldset", element("legend", "True defects"), id="view-defects"),
        element("div", id="view-figures", class_="scroll"),
        class_="side",
    )


def _class(one: OfClass) -> dict[str, Any]:
    maps = one.shown.maps
    indices = [picked.index for picked in one.chosen]
    levels = {method.method: method.read(indices) for method in maps}
    images = [
        found
        for picked in one.chosen
        for found in _image(one, picked, {name: of[picked.index] for name, of in levels.items()})
    ]
    return {
        "name": one.shown.results.name,
        "methods": [
            {"name": method.method, "scale": method.scale, "level": method.level} for method in maps
        ],
        "images": images,
    }


def _image(one: OfClass, picked: Picked, levels: Mapping[str, Pixels]) -> Iterator[dict[str, Any]]:
    """An image as plain data; nothing where it cannot be read any more."""
    score = one.shown.scores[picked.index]
    sample = one.shown.samples.get(key_of(score))
    if sample is None:
        return
    try:
        photo = small_photo(sample)
        defects = segmentation.small_defects(sample, (photo.shape[0], photo.shape[1]))
    except LocoToolsError:
        return
    if any(of.shape != photo.shape[:2] for of in levels.values()):
        return  # another image lies there by now
    yield {
        "key": key_of(score),
        "kind": sample.kind,
        "types": defect_types(sample),
        "why": picked.reason,
        "size": [photo.shape[0], photo.shape[1]],
        "photo": data_url(photo, "jpeg", quality=_PHOTO_QUALITY),
        "maps": [data_url(levels[m.method], "webp", quality=101) for m in one.shown.maps],
        "defects": [
            {
                "name": defect.name,
                "kind": defect.kind,
                "saturation": defect.saturation_px,
                "mask": data_url(defect.mask.astype(np.uint8) * 255),
            }
            for defect in defects
        ],
        "scores": _verdicts(one, picked.index, sample),
    }


def _verdicts(one: OfClass, index: int, sample: Sample) -> list[dict[str, Any]]:
    """Per method what it says of the image as a whole."""
    wrong: dict[str, bool] = {}
    if one.mistakes is not None:
        wrong = {d.method: bool(d.wrong[index]) for d in one.mistakes.decisions}
    return [
        {
            "above": round(float(one.shown.above[m.method][index]), 4),
            "says": _said(sample.kind == "good", wrong.get(m.method)),
        }
        for m in one.shown.maps
    ]


def _said(is_good: bool, wrong: bool | None) -> str:
    if wrong is None:
        return ""
    called_good = is_good != wrong
    return f"{'good' if called_good else 'defective'} {'✗' if wrong else '✓'}"
