"""The interactive view of one image: what it shows, inside the page as data for its script."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loco_tools.benchmark.analysis import segmentation
from loco_tools.benchmark.analysis.error_analysis import ClassErrors, key_of
from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.cell.record import defect_types
from loco_tools.benchmark.cell.thumbnails import HIGH_PERCENTILE, SIDE_PX
from loco_tools.benchmark.report.gallery import ClassImages, ramp, small_photo
from loco_tools.benchmark.report.images import SelectedImage
from loco_tools.datasets.images import Pixels, data_url
from loco_tools.errors import LocoToolsError

BYTES_PER_PICTURE = 12_000
"""A generous guess for one embedded photo or map; maps are kept without loss."""

_PHOTO_QUALITY = 80

NOTE = (
    "The map of every method over the photo of one image. The threshold turns the map of the "
    "chosen method into a segmentation (hatched)."
)

MEANING = (
    "sPRO is the share of each defect that the segmentation covers, up to the saturation "
    "threshold; “false area” is the share of the defect-free area that it covers. The slider "
    "starts at the threshold that good validation images give (5 % of their pixels exceed it). "
    f"Maps, masks and metrics here are at reduced resolution (at most {SIDE_PX} pixels on the "
    f"longer side, 256 levels from the median to the {HIGH_PERCENTILE:g} % point of the method's "
    "maps); the metrics in the tables are computed at full size."
)


Shown = tuple[ClassImages, Sequence[SelectedImage], ClassErrors | None]
"""What the view shows of a class: its images, those to show, and the errors of the methods."""


def view(data: ReportData, classes: Sequence[Shown]) -> dict[str, Any] | None:
    """The data of the view for its script; None where no image can be shown."""
    content = []
    for images, selected, class_errors in classes:
        maps = {one.method: one.read([s.index for s in selected]) for one in images.maps}
        shown = [
            image
            for one in selected
            if (image := _image(images, one, class_errors, maps)) is not None
        ]
        if shown:
            methods = [{"name": m.method, "scale": m.scale, "level": m.level} for m in images.maps]
            content.append({"name": images.results.name, "methods": methods, "images": shown})
    if not content:
        return None
    return {"ramp": ramp(), "methods": data.methods, "classes": content}


def _image(
    images: ClassImages,
    selected: SelectedImage,
    class_errors: ClassErrors | None,
    maps: Mapping[str, Mapping[int, Pixels]],
) -> dict[str, Any] | None:
    """An image as plain data; None where it can no longer be read."""
    key = key_of(images.scores[selected.index])
    sample = images.samples.get(key)
    if sample is None:
        return None
    try:
        photo = small_photo(sample)
        defects = segmentation.small_defects(sample, (photo.shape[0], photo.shape[1]))
    except LocoToolsError:
        return None
    levels = [maps[one.method][selected.index] for one in images.maps]
    if any(level.shape != photo.shape[:2] for level in levels):
        return None  # the file now holds another image
    wrong: dict[str, bool] = {}
    if class_errors is not None:
        wrong = {d.method: bool(d.wrong[selected.index]) for d in class_errors.decisions}
    verdicts = []
    for one in images.maps:
        verdict = ""
        if one.method in wrong:
            called_good = (sample.kind == "good") != wrong[one.method]
            verdict = "good" if called_good else "defective"
            verdict += " ✗" if wrong[one.method] else " ✓"
        above = round(float(images.above[one.method][selected.index]), 4)
        verdicts.append({"above": above, "says": verdict})
    return {
        "key": key,
        "kind": sample.kind,
        "types": defect_types(sample),
        "why": selected.reason,
        "size": [photo.shape[0], photo.shape[1]],
        "photo": data_url(photo, "jpeg", quality=_PHOTO_QUALITY),
        "maps": [data_url(level, "webp", quality=101) for level in levels],
        "defects": [
            {
                "name": defect.name,
                "kind": defect.kind,
                "saturation": defect.saturation_px,
                "mask": data_url(defect.mask.astype(np.uint8) * 255),
            }
            for defect in defects
        ],
        "scores": verdicts,
    }
