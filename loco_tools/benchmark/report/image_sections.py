"""The report's sections with pictures: the gallery, the error analysis, the interactive view."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loco_tools.benchmark.analysis.error_analysis import Mistakes, key_of, mistakes_of
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData, share_of_good_below
from loco_tools.benchmark.cell.thumbnails import HIGH_PERCENTILE
from loco_tools.benchmark.report import error_tables, image_view
from loco_tools.benchmark.report.gallery import Shown, heat_legend, image_link, rows
from loco_tools.benchmark.report.html import Markup, element, folded, join, section, seed_note
from loco_tools.benchmark.report.images import (
    IMAGES_PER_CLASS,
    RULE,
    Picked,
    Truth,
    found_at_threshold,
    pick,
    small_maps,
)
from loco_tools.benchmark.report.tables import Table
from loco_tools.progress import Progress

GALLERY_BYTES = 5_000_000
ERRORS_BYTES = 2_000_000
VIEW_BYTES = 5_000_000
"""What each may take of a report; many classes and methods get fewer images each."""

BYTES_PER_TILE = 11_000
"""A generous guess for one picture of the gallery, photo or map."""

FEWEST_IMAGES = 3
"""Of each class, whatever the budget: a run of many classes and methods takes a little more."""

_ERRORS_PER_CLASS = 6


@dataclass(frozen=True)
class Pictured:
    """One class with everything that its pictures are made of; `fault` says why there are none."""

    results: ClassResults
    shown: Shown
    chosen: tuple[Picked, ...]
    in_view: tuple[Picked, ...]
    errors: tuple[Picked, ...]
    mistakes: Mistakes | None
    tables: tuple[Table, ...]
    fault: str


def pictured(data: ReportData, progress: Progress) -> list[Pictured]:
    """Read what the pictures of every class need, and choose the images.

    Raises:
        BenchmarkError: a cell is damaged.
    """
    truth, found = Truth(data), []
    done = [one for one in data.classes if one.done]
    with progress.task("report: images", len(done)) as advance:
        for one in done:
            found.append(_pictured(data, one, truth, len(done)))
            advance(1)
    return found


def gallery_section(data: ReportData, classes: Sequence[Pictured]) -> Markup:
    """The galleries of all classes."""
    blocks = []
    for place, one in enumerate(classes):
        simulated = any(i.simulated for i in data.run.classes if i.name == one.results.name)
        what = "Simulated images, not photographs." if simulated else None
        note = element("p", what, class_="note") if what else None
        shown: list[Markup] | Markup = rows(f"g{place}", one.shown, one.chosen)
        if one.fault:
            shown = _unreadable(one)
        blocks.append(join(element("h3", one.results.name), note, shown))
    scale = (
        "Each method's colours run from the median of its own maps of the class (transparent) to "
        f"their {HIGH_PERCENTILE:g} % point (brightest); this scale, set after the fact, is for "
        "looking only. The blue line is the true defect: solid for structural, dashed for logical. "
        "The white line is the segmentation at the threshold that 5 % of the pixels of good "
        "validation images lie above; sPRO and false area are those of it, at reduced resolution. "
        "Select a picture to enlarge it; the arrow keys go to the next one."
    )
    rule = f"{RULE} {seed_note(data)}"
    return section("images", "Images", rule, element("p", scale), _controls(), blocks)


def errors_section(data: ReportData, classes: Sequence[Pictured]) -> Markup:
    """The error analysis of all classes."""
    blocks = []
    for place, one in enumerate(classes):
        if one.mistakes is None:
            words = "Scores of validation images were not kept; run the benchmark again."
            name = element("h3", one.results.name)
            blocks.append(join(name, element("p", words, class_="quiet")))
            continue
        links = {key: image_link(one.results.name, key) for key in one.shown.linked}
        drawn = [_unreadable(one)] if one.fault else rows(f"e{place}", one.shown, one.errors)
        blocks.append(error_tables.block(one.results.name, one.tables, drawn, links))
    note = f"{error_tables.NOTE} {seed_note(data)}"
    return section("errors", "Errors", note, blocks)


def view_section(data: ReportData, classes: Sequence[Pictured]) -> Markup | None:
    """The interactive view; None where no image can be shown."""
    of_classes = [image_view.OfClass(one.shown, one.in_view, one.mistakes) for one in classes]
    found = image_view.view(data, of_classes)
    if found is None:
        return None
    count = sum(len(one.in_view) for one in classes)
    total = sum(len(one.shown.scores) for one in classes)
    which = f"All {total} test images are in this file."
    if count < total:
        which = (
            f"{count} of {total} test images are in this file, to keep it small: first those that "
            "most methods err on, then as in the gallery, then any others."
        )
    which += " The address of the page leads back to the image that is shown."
    script = element("p", "The view needs JavaScript.", class_="note noscript")
    more = folded("What the figures here mean, and which images are here",
                  element("p", f"{image_view.MEANING} {which}", class_="quiet"))  # fmt: skip
    note = f"{image_view.NOTE} {seed_note(data)}"
    return section("inspect", "Look closely", note, more, element("noscript", script), found)


class _Room(NamedTuple):
    """How many images of a class there is room for."""

    gallery: int
    errors: int
    view: int


def _room(classes: int, methods: int) -> _Room:
    per_image = classes * (methods + 1)

    def images(budget: int, per_picture: int, least: int = FEWEST_IMAGES) -> int:
        return max(least, budget // (per_image * per_picture))

    return _Room(
        min(IMAGES_PER_CLASS, images(GALLERY_BYTES, BYTES_PER_TILE)),
        min(_ERRORS_PER_CLASS, images(ERRORS_BYTES, BYTES_PER_TILE, 1)),
        images(VIEW_BYTES, image_view.BYTES_PER_PICTURE),
    )


def _pictured(data: ReportData, one: ClassResults, truth: Truth, classes: int) -> Pictured:
    scores = {record.stamp.method: data.scores(record.cell) for record in one.shown}
    first = next(iter(scores.values()))
    above = {method: share_of_good_below(found) for method, found in scores.items()}
    maps = [] if truth.fault(one) else small_maps(data, one)
    keys, mistakes = [key_of(score) for score in first], mistakes_of(data, one)
    segmented, room = found_at_threshold(maps, keys, truth, one), _room(classes, len(maps))
    chosen = pick(first, above, segmented, limit=room.gallery)
    errors = error_tables.hardest(mistakes, room.errors) if mistakes is not None else []
    more = pick(first, above, segmented, limit=room.view)
    rest = [Picked(index, "another image") for index in range(len(first))]
    in_view = _in_view((*errors, *chosen, *more, *rest), room.view)
    samples = truth.samples(one)
    linked = frozenset(keys[picked.index] for picked in in_view) & frozenset(samples)
    return Pictured(
        one,
        Shown(one, first, samples, maps, above, linked),
        tuple(chosen),
        tuple(in_view),
        tuple(errors),
        mistakes,
        tuple(_tables(one.name, mistakes, truth.shares(one))),
        truth.fault(one),
    )


def _in_view(wanted: Sequence[Picked], limit: int) -> list[Picked]:
    """The first of the images that are wanted, in the order of the test set."""
    found: dict[int, Picked] = {}
    for one in wanted:
        if len(found) < limit:
            found.setdefault(one.index, one)
    return [found[index] for index in sorted(found)]


def _tables(class_name: str, found: Mistakes | None, sizes: dict[str, float]) -> list[Table]:
    if found is None:
        return []
    tables = [
        error_tables.decisions(class_name, found),
        error_tables.shared(class_name, found, sizes),
        error_tables.overlaps(class_name, found),
        error_tables.listing(class_name, found, sizes),
    ]
    return [table for table in tables if table is not None]


def _unreadable(one: Pictured) -> Markup:
    return element("p", f"The images cannot be shown: {one.fault}", class_="note")


def _controls() -> Markup:
    kinds = ("all", "logical", "structural", "good")
    return element(
        "div",
        element(
            "label",
            "Show ",
            element("select", [element("option", k, value=k) for k in kinds], id="kind"),
        ),
        element(
            "label",
            "Heat ",
            element("input", type="range", id="heat", min="0", max="100", value="75"),
        ),
        _box("truth", " true defect"),
        _box("lit", " segmentation"),
        element("span", "cold ", heat_legend("gallery-ramp"), " hot"),
        class_="controls",
    )


def _box(key: str, label: str) -> Markup:
    return element("label", element("input", type="checkbox", id=key, checked=True), label)
