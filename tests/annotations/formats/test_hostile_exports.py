"""Exports made to do harm end in a clear error or a reported skip, in bounded memory and time."""

import copy
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotation_builders import (
    box,
    brush_region,
    group_number,
    make_region,
    make_task,
    write_export,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco_tools.annotations.agreement import agreement
from loco_tools.annotations.convert import convert
from loco_tools.annotations.masks_only import export_masks
from loco_tools.errors import AnnotationError, LocoToolsError

MakeSession = Callable[..., Path]
JUNK = st.recursive(
    st.sampled_from(
        [None, True, 0, -1, 10**400, 1e308, float("nan"), "", "\ud800", "../x", [], {}, "0", 10**9]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
POLYGON = {"points": [[1, 1], [50, 1], [50, 50]], "closed": True, "polygonlabels": ["dent"]}
ELLIPSE = {"x": 50, "y": 50, "radiusX": 9, "radiusY": 9, "rotation": 5, "ellipselabels": ["dent"]}
CORNERS = [{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 5, "y": 9}]
VECTOR = {"vertices": CORNERS, "closed": True, "vectorlabels": ["dent"]}
TASK = make_task(
    make_region(),
    brush_region(box(5, 5, 9, 9), id="b"),
    make_region("polygonlabels", id="p", value=POLYGON, parentID="b"),
    make_region("ellipselabels", id="e", value=ELLIPSE),
    make_region("vectorlabels", id="v", value=VECTOR),
    group_number("b", 1),
    {"type": "relation", "from_id": "b", "to_id": "p"},
    {"id": "c", "type": "choices", "value": {"choices": ["good"]}},
    shot="p0004-top",
    drafts=[{"result": [make_region()]}],
    predictions=[{"result": [make_region()], "model_version": "a"}],
)
ROW = {
    "id": 1,
    "image": "p0004-top.png",
    "annotator": 1,
    "annotation_id": 1,
    "label": [{"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": ["dent"]}],
    "group": [{"x": 1, "y": 1, "width": 9, "height": 9, "number": 1}],
}


def spoilt(data: st.DataObject, task: Any) -> Any:
    """A copy with junk in one to three places."""
    task = copy.deepcopy(task)
    for _ in range(data.draw(st.integers(1, 3))):
        places: list[tuple[Any, Any]] = []
        pending = [task]
        while pending:
            node = pending.pop()
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                if isinstance(node[key], dict | list):
                    pending.append(node[key])
        if places:
            node, key = data.draw(st.sampled_from(places))
            node[key] = data.draw(JUNK)
    return task


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_junk_in_any_field_is_a_skip_or_a_clear_error(tmp_path: Path, data: st.DataObject) -> None:
    task = spoilt(data, data.draw(st.sampled_from([TASK, ROW])))
    export = write_export(tmp_path / "export.json", task)
    report, message = None, ""
    try:
        report = export_masks(export, tmp_path / "out", predictions=data.draw(st.booleans()))
    except AnnotationError as error:
        message = str(error)
    assert len(message) < 600
    if report:
        assert len(report.regions) + len(report.skipped) <= 15
        assert all(len(skip.reason) < 400 for skip in report.skipped)
        json.loads((tmp_path / "out" / "regions.json").read_text("utf-8"))


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_junk_in_any_field_never_crashes_a_conversion(
    make_session: MakeSession, tmp_path: Path, data: st.DataObject
) -> None:
    session = tmp_path / "captures" / "composite_part" / "session-001"
    session = session if session.exists() else make_session()
    rest = [make_task(shot=f"p000{n}-top", task=n) for n in (5, 6, 7)]
    task = spoilt(data, data.draw(st.sampled_from([TASK, ROW])))
    export = write_export(session / "labelstudio.json", task, *rest)
    merge = data.draw(st.sampled_from(["latest", "union", "majority"]))
    group = data.draw(st.sampled_from(["auto", "label", "region"]))
    for call in (
        lambda: convert(export, out_root=tmp_path, merge=merge, group=group, overwrite=True),
        lambda: agreement(export),
    ):
        message = ""
        try:
            call()
        except LocoToolsError as error:
            message = str(error)
        assert len(message) < 1000


def measured(call: Callable[[], object]) -> tuple[float, int]:
    """Seconds and the peak of allocated bytes."""
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        call()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return time.perf_counter() - begun, peak


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (
            brush_region(box(1, 1, 9, 9), original_width=10**5, original_height=10**4),
            "expected an image of 1 to 200000000 pixels, got 100000 x 10000",
        ),
        (
            make_region(
                "brush", value={"rle": [*(4 * 10**9).to_bytes(4, "big"), 57, 27, 255, 6, 0, 0]}
            ),
            "got a code that claims 4000000000",
        ),
        (make_region("brush", value={"rle": [300] * 10}), "expected a list of whole numbers"),
        (
            make_region("polygon", value={"points": [[n % 2 * 100, n % 3 * 50] for n in range(9)]}),
            None,
        ),
    ],
)
def test_claims_are_checked_before_memory_is_taken(tmp_path: Path, item: Any, reason: str) -> None:
    export = write_export(tmp_path / "export.json", make_task(item))
    seconds, peak = measured(lambda: export_masks(export, tmp_path / "out"))
    skipped = json.loads((tmp_path / "out" / "regions.json").read_text())["skipped"]
    assert [reason in skip["reason"] for skip in skipped] == ([True] if reason else [])
    assert peak < 20_000_000
    assert seconds < 30


def test_ten_thousand_regions_with_one_id_take_no_time(tmp_path: Path) -> None:
    regions = [make_region() for _ in range(10_000)]
    relations = [{"type": "relation", "from_id": "x", "to_id": "y"}] * 10_000
    export = write_export(tmp_path / "export.json", make_task(*regions, *relations))
    seconds, peak = measured(lambda: export_masks(export, tmp_path / "out"))
    assert peak < 200_000_000
    assert seconds < 60
