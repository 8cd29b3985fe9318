"""Every region of an export becomes a mask, or is named with the reason why it did not."""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from annotation_builders import HEIGHT, WIDTH, box, brush_region, make_region, write_export
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco_tools.annotations.convert import convert
from loco_tools.annotations.masks_only import export_masks
from loco_tools.cli import cli
from loco_tools.datasets.images import read_mask, write_png
from loco_tools.errors import AnnotationError

MakeSession = Callable[..., Path]
ANOMALOUS = ("p0004-top", "p0005-top", "p0006-top", "p0007-top")


class Drawn(NamedTuple):
    """Items of a result, and the number of regions that they draw."""

    items: list[Any]
    regions: int


def rectangle(x: float, y: float = 10, **changes: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 9.0, "height": 20.0, "rotation": 0}
    return make_region(value={**value, "rectanglelabels": ["scratch"]}, **changes)


def without_label(item: dict[str, Any], kind: str) -> dict[str, Any]:
    value = {key: inner for key, inner in item["value"].items() if not key.endswith("labels")}
    return {**item, "type": kind, "value": value}


@st.composite
def results(draw: st.DrawFn) -> Drawn:
    """A result of several regions, whose ids repeat, in the forms that Label Studio writes."""
    items: list[Any] = []
    count = draw(st.integers(0, 4))
    for number in range(count):
        name = draw(st.sampled_from(["a", "b", "c"]) | st.uuids().map(str))
        region = rectangle(x=1.0 + 20 * number, id=name)
        match draw(st.sampled_from(["one", "tool and label", "brush", "point", "outside"])):
            case "one":
                items.append(region)
            case "tool and label":
                label = {**region, "type": "labels"}
                label["value"] = {**label["value"], "labels": label["value"]["rectanglelabels"]}
                del label["value"]["rectanglelabels"]
                items += draw(st.permutations([without_label(region, "rectangle"), label]))
            case "brush":
                items.append(brush_region(box(2, 2 + 9 * number, 20, 9 + 9 * number), id=name))
            case "point":
                items.append(without_label(region, "keypoint"))
            case "outside":
                items.append(rectangle(x=500.0 + number, id=name))
        if draw(st.booleans()):
            items.append({"id": name, "type": "number", "value": {"number": 1}})
    if draw(st.integers(0, 5)) == 0:
        items.append({"type": "relation", "from_id": "a", "to_id": "b"})
    return Drawn(items, count)


@st.composite
def tasks(draw: st.DrawFn, *, sound: bool = False) -> Drawn:
    """Tasks with annotations of several people, some cancelled, drafts and predictions.

    `sound`: each task has an annotation with one sound region too.
    """
    made: list[Any] = []
    total = 0
    for number, shot in enumerate(ANOMALOUS):
        kinds: dict[str, list[Any]] = {"annotations": [], "drafts": [], "predictions": []}
        for kind, written in kinds.items():
            for person in range(draw(st.integers(1 if kind == "annotations" else 0, 2))):
                result = draw(results())
                total += result.regions
                written.append(
                    {
                        "id": 10 * number + person,
                        "completed_by": person,
                        "was_cancelled": kind == "annotations" and draw(st.booleans()),
                        "updated_at": draw(st.sampled_from(["", "2026-01-01", "2026-02-01"])),
                        "result": result.items,
                    }
                )
        if sound:
            when = draw(st.sampled_from(["", "2026-03-01"]))
            kinds["annotations"].append(
                {"id": 7, "completed_by": 9, "updated_at": when, "result": [rectangle(80)]}
            )
            total += 1
        made.append({"id": number, "data": {"image": f"/data/upload/1/{shot}.png"}, **kinds})
    return Drawn(made, total)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=tasks(), predictions=st.booleans())
def test_regions_drawn_are_masks_skipped_or_left_out(
    tmp_path: Path, drawn: Drawn, predictions: bool
) -> None:
    export = write_export(tmp_path / "export.json", *drawn.items)
    report = export_masks(export, tmp_path / "out", predictions=predictions)
    record = json.loads((tmp_path / "out" / "regions.json").read_text())
    assert len(report.regions) + len(report.skipped) + len(report.left_out) == drawn.regions
    assert sum(len(record[key]) for key in ("regions", "skipped", "left_out")) == drawn.regions
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(report.regions)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=tasks(sound=True), merge=st.sampled_from(["latest", "union", "majority"]))
def test_a_conversion_accounts_for_every_region_or_refuses(
    make_session: MakeSession, tmp_path: Path, drawn: Drawn, merge: Any
) -> None:
    session = tmp_path / "captures" / "composite_part" / "session-001"
    if not session.is_dir():
        make_session()
    export = write_export(session / "labelstudio.json", *drawn.items)
    report = None
    with contextlib.suppress(AnnotationError):  # not annotated, or nothing became a mask
        report = convert(export, out_root=tmp_path / "data", merge=merge, overwrite=True)
    if report is None:
        return
    record = json.loads((tmp_path / "data" / "composite_part.audit.json").read_text())
    counts = record["counts"]
    assert counts["drawn"] == drawn.regions
    assert counts["masked"] + counts["skipped"] + counts["left_out"] == drawn.regions
    assert [len(record[key]) for key in ("regions", "skipped", "left_out")] == [
        counts[key] for key in ("masked", "skipped", "left_out")
    ]
    assert f"{drawn.regions} region" in report.audit.read_text()
    lines = (tmp_path / "data" / "composite_part.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        if line["part_kind"] != "good" and not line["defects"]:
            said = f"{line['part']}: taken as {line['part_defect']}, marked in none of its views"
            assert any(said in note for note in report.notes)
            assert said in report.describe()


def task_of(*result: Any, **data: Any) -> dict[str, Any]:
    annotation = {"id": 1, "completed_by": 1, "was_cancelled": False, "result": list(result)}
    return {"id": 1, "data": data or {"image": "a.png"}, "annotations": [annotation]}


def masks_of(tmp_path: Path, *tasks: Any) -> Any:
    return export_masks(write_export(tmp_path / "in" / "export.json", *tasks), tmp_path / "out")


def test_two_shapes_of_one_id_are_two_masks(tmp_path: Path) -> None:
    report = masks_of(tmp_path, task_of(rectangle(10, id="r1"), rectangle(60, id="r1")))
    assert [region.region for region in report.regions] == ["r1", "r1"]
    columns = [read_mask(report.out / r.file).any(axis=0).nonzero()[0][0] for r in report.regions]
    assert columns == [6, 38]


def test_two_shapes_of_one_id_on_two_pages_lie_on_their_pages(tmp_path: Path) -> None:
    both = [rectangle(10, id="r1", item_index=page) for page in (0, 1)]
    report = masks_of(tmp_path, task_of(*both, images=["a.png", "b.png"]))
    assert [(r.image, r.item_index) for r in report.regions] == [("a.png", 0), ("b.png", 1)]


def test_an_anomalous_photograph_never_becomes_good_because_its_region_has_a_used_id(
    make_session: MakeSession, tmp_path: Path
) -> None:
    both = [rectangle(10, id="r1", item_index=page) for page in range(4)]
    names = [f"/data/upload/1/0a1b2c3d-{shot}.png" for shot in ANOMALOUS]
    export = write_export(make_session() / "labelstudio.json", task_of(*both, images=names))
    assert convert(export, out_root=tmp_path).images["test/structural_anomalies"] == 4


@pytest.mark.parametrize(
    ("data", "tag", "image"),
    [
        ({"image": "a.png"}, "photo", "a.png"),
        ({"images": ["a.png"], "thumbnail": "b.png"}, "image", "a.png"),
        ({"left": "a.png", "right": "b.png"}, "right", "b.png"),
        ({"pages": [{"page": "a.png"}, {"page": "b.png"}]}, "page_1", "b.png"),
        ({"pages": ["a.png", "b.png"]}, "pages", "a.png"),
        ({"pdf": "a.pdf"}, "image", "a.pdf"),
    ],
)
def test_a_region_lies_on_the_image_of_its_tag(
    tmp_path: Path, data: dict[str, Any], tag: str, image: str
) -> None:
    report = masks_of(tmp_path, task_of(rectangle(10, to_name=tag), **data))
    assert [region.image for region in report.regions] == [image]


@pytest.mark.parametrize(
    ("data", "tags"),
    [
        ({"left": "a.png", "right": "b.png"}, ["img2"]),
        ({"thumbnail": "a.png", "photo": "b.png"}, ["image"]),
        ({"image": "a.png"}, ["first", "second"]),
        ({"pages": [{"page": "a.png"}, {"page": "b.png"}], "cover": "c.png"}, ["cover2"]),
        ({"pages": [{"page": "a.png"}]}, ["page_1"]),
    ],
)
def test_an_image_tag_is_never_guessed(
    tmp_path: Path, data: dict[str, Any], tags: list[str]
) -> None:
    regions = [rectangle(10 * n, to_name=tag) for n, tag in enumerate(tags, start=1)]
    report = masks_of(tmp_path, task_of(*regions, **data))
    assert report.regions == ()
    assert len(report.skipped) == len(tags)
    for skip in report.skipped:
        assert "is not among the images" in skip.reason or "number" in skip.reason


def test_a_page_of_a_document_is_named(tmp_path: Path) -> None:
    report = masks_of(tmp_path, task_of(rectangle(10, item_index=3), pdf="/data/upload/1/a.pdf"))
    assert [(r.image, r.item_index) for r in report.regions] == [("/data/upload/1/a.pdf", 3)]


def test_a_region_that_cannot_be_placed_does_not_make_an_anomalous_photograph_good(
    make_session: MakeSession, tmp_path: Path
) -> None:
    names = {f"view{n}": f"/data/upload/1/{shot}.png" for n, shot in enumerate(ANOMALOUS)}
    data = {**names, "loco_shot": {f"view{n}": shot for n, shot in enumerate(ANOMALOUS)}}
    placed = [rectangle(10, id=f"r{n}", to_name=f"view{n}") for n in range(3)]
    lost = rectangle(10, id="lost", to_name="other")
    export = write_export(make_session() / "labelstudio.json", task_of(*placed, lost, **data))
    with pytest.raises(AnnotationError, match=r"p0007-top: nothing that was drawn could become"):
        convert(export, out_root=tmp_path / "data")


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([(40, 200), (10, 20)], "1 region of 2 reach far beyond 100 % .*up to 240 %.*pixels"),
        ([(0.1, 0.4), (0.2, 0.5)], "2 regions of 2 lie within the first 1 % .*fractions"),
        ([(-20, 60), (70, 45)], None),
        ([(0.5, 30)], None),
    ],
)
def test_coordinates_that_are_not_percentages_are_noticed(
    tmp_path: Path, values: list[tuple[float, float]], note: str | None
) -> None:
    regions = [
        make_region(id=f"r{n}", value={"x": at, "y": at, "width": size, "height": size})
        for n, (at, size) in enumerate(values)
    ]
    report = masks_of(tmp_path, task_of(*regions))
    found = [one for one in report.notes if "percentages" in one]
    assert len(found) == (note is not None)
    assert note is None or re.search(note, found[0])


def test_an_export_that_gives_another_size_takes_that_of_the_file(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "a.png", np.zeros((96, 128, 3), np.uint8))
    shape = rectangle(10, original_width=100, original_height=100)
    painted = brush_region(box(1, 1, 9, 9), id="b")
    report = masks_of(tmp_path, task_of(shape, painted))
    assert [read_mask(report.out / region.file).shape for region in report.regions] == [(96, 128)]
    assert "an image of 100 x 100 pixels, but" in report.notes[0]
    assert "128 x 96" in report.notes[0]
    (skipped,) = report.skipped
    assert f"{WIDTH} x {HEIGHT} pixels, but" in skipped.reason
    assert "128 x 96" in skipped.reason


def test_claimed_images_are_bounded_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loco_tools.annotations.masks_only.MOST_CLAIMED_PIXELS", 5 * HEIGHT * WIDTH)
    report = masks_of(tmp_path, task_of(*(rectangle(n, id=f"r{n}") for n in range(8))))
    assert (len(report.regions), len(report.skipped)) == (5, 3)
    assert "images that are not there; next step" in report.skipped[0].reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"annotations": [], "drafts": [{"result": [rectangle(1)]}]}, "a draft, not submitted"),
        ({"annotations": [], "predictions": [{"result": [rectangle(1)]}]}, "--predictions"),
        ({"annotations": [{"was_cancelled": True, "result": [rectangle(1)]}]}, "was cancelled"),
        ({"predictions": [286]}, "gives no regions"),
        ({}, "got none"),
    ],
)
def test_nothing_converted_is_a_failure_that_says_why(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    export = write_export(tmp_path / "in" / "export.json", {**task_of(), **changes})
    out = str(tmp_path / "out")
    outcome = CliRunner().invoke(cli, ["convert", str(export), "--masks-only", "--out", out])
    assert isinstance(outcome.exception, AnnotationError)
    assert reason in str(outcome.exception)
    assert "next step" in str(outcome.exception)
