import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import Mask, box, brush_region, make_region, make_task, write_export
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loco_tools.annotations.convert import ConversionReport, convert
from loco_tools.annotations.formats import read_export
from loco_tools.annotations.merging import overlaps
from loco_tools.datasets.images import read_mask
from loco_tools.errors import AnnotationError

MakeSession = Callable[..., Path]
OTHERS = ("p0005-top", "p0006-top", "p0007-top")
A, B, C = box(5, 5, 15, 25), box(5, 15, 15, 35), box(5, 20, 15, 40)
FAR = box(30, 30, 40, 50)


def by(who: int | None, *masks: Mask, day: int = 1, **more: Any) -> dict[str, Any]:
    """A submitted annotation of scratches, named after their annotator: 1-0, 1-1 and so on."""
    result = [brush_region(mask, id=f"{who}-{place}") for place, mask in enumerate(masks)]
    made = {"id": f"{who}/{day}", "completed_by": who, "updated_at": f"2026-01-0{day}"}
    return {**made, "result": result, **more}


def export_of(session: Path, *annotations: Any, **task: Any) -> Path:
    """The annotations are all of the first anomalous photograph; the others have a clear case."""
    tasks = [make_task(shot="p0004-top", annotations=list(annotations), **task)]
    tasks += [
        make_task(shot=shot, task=shot, annotations=[by(1, A, ground_truth=True)])
        for shot in OTHERS
    ]
    return write_export(session / "labelstudio.json", *tasks)


def masks_of(report: ConversionReport) -> list[Mask]:
    line = next(
        line
        for line in map(json.loads, report.sidecar.read_text().splitlines())
        if line["shot"] == "p0004-top"
    )
    return [read_mask(report.folder / defect["mask"]) > 0 for defect in line["defects"]]


def merged(session: Path, tmp_path: Path, merge: Any, *annotations: Any) -> list[Mask]:
    export = export_of(session, *annotations)
    return masks_of(convert(export, out_root=tmp_path / "data", merge=merge))


def equal(masks: list[Mask], expected: list[Mask]) -> bool:
    return len(masks) == len(expected) and all(map(np.array_equal, masks, expected))


def test_latest_takes_the_annotation_that_was_changed_last(
    make_session: MakeSession, tmp_path: Path
) -> None:
    masks = merged(make_session(), tmp_path, "latest", by(1, A, day=3), by(2, B, day=2))
    assert equal(masks, [A])


def test_reviewed_takes_the_last_reviewed_annotation(
    make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session()
    accepted = {"reviews": [{"accepted": False}, {"accepted": True}]}
    rejected = {"reviews": [{"accepted": True}, {"accepted": False}]}
    masks = merged(
        session,
        tmp_path,
        "reviewed",
        by(1, A, day=1, ground_truth=True),
        by(2, B, day=2, **accepted),
        by(3, C, day=3, **rejected),
        by(4, C, day=4),
    )
    assert equal(masks, [B])


def test_reviewed_asks_for_a_review_where_there_is_none(
    make_session: MakeSession, tmp_path: Path
) -> None:
    with pytest.raises(
        AnnotationError,
        match=r"expected a reviewed annotation .* got none of 1 photograph: session-001/p0004-top",
    ):
        merged(make_session(), tmp_path, "reviewed", by(1, A))


def test_union_joins_what_overlaps_and_keeps_the_rest(
    make_session: MakeSession, tmp_path: Path
) -> None:
    masks = merged(make_session(), tmp_path, "union", by(1, A, FAR), by(2, C, B), by(3))
    assert equal(masks, [A | B | C, FAR])


def test_majority_keeps_the_pixels_that_more_than_half_marked(
    make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session()
    masks = merged(session, tmp_path, "majority", by(1, A), by(2, B, FAR), by(3, C))
    assert equal(masks, [(A & B) | (A & C) | (B & C)])
    assert equal(merged(session, tmp_path, "majority", by(1, A), by(2, B)), [A & B])


def test_those_who_drew_nothing_vote_against(make_session: MakeSession, tmp_path: Path) -> None:
    export = export_of(make_session(), by(1, A), by(2), by(3))
    report = convert(export, out_root=tmp_path, merge="majority")
    assert masks_of(report) == []
    reason = "outvoted: no pixel of it was marked by more than half of 3 annotators"
    assert [(skip.region, skip.reason) for skip in report.left_out] == [("1-0", reason)]


def test_the_same_polygon_twice_without_ids_is_one_that_counts_and_one_that_does_not(
    make_session: MakeSession, tmp_path: Path
) -> None:
    value = {"points": [[1, 1], [50, 1], [50, 50]], "closed": True, "polygonlabels": ["dent"]}
    twice = [{"result": [make_region("polygonlabels", id=None, value=value)]} for _ in range(2)]
    report = convert(export_of(make_session(), *twice), out_root=tmp_path)
    assert len(masks_of(report)) == 1
    assert [skip.reason for skip in report.left_out] == ["belongs to an older annotation"]


@given(st.lists(arrays.arrays(np.bool_, (5, 6)).filter(np.any), max_size=5))
def test_overlaps_are_those_of_every_two_masks(masks: list[Mask]) -> None:
    expected = [
        (one, other, int((masks[one] & masks[other]).sum()))
        for one, other in combinations(range(len(masks)), 2)
        if (masks[one] & masks[other]).any()
    ]
    assert list(overlaps(masks)) == expected


@pytest.mark.parametrize("merge", ["union", "majority"])
def test_each_annotator_has_one_vote_however_often_they_submit(
    make_session: MakeSession, tmp_path: Path, merge: str
) -> None:
    masks = merged(
        make_session(), tmp_path, merge, by(1, FAR, day=1), by(1, FAR, day=2), by(1, A, day=3)
    )
    assert equal(masks, [A])


def test_predictions_count_only_when_asked_for_and_below_people(
    make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session()
    prediction = {"model_version": "v1", "result": [brush_region(B)], "created_at": "2027"}
    export = export_of(session, predictions=[prediction])
    with pytest.raises(
        AnnotationError,
        match=r"a submitted annotation .* got none of 1 photograph: session-001/p0004-top",
    ):
        convert(export, out_root=tmp_path)
    report = convert(export, out_root=tmp_path, predictions=True)
    assert equal(masks_of(report), [B])
    export = export_of(session, by(1, A), predictions=[prediction])
    report = convert(export, out_root=tmp_path, predictions=True)
    assert equal(masks_of(report), [A])
    assert [skip.reason for skip in report.left_out] == [
        "belongs to a prediction, where a person's annotation counts"
    ]
    report = convert(export, out_root=tmp_path, predictions=True, merge="union")
    assert equal(masks_of(report), [A | B])
    annotations = read_export(export, predictions=True).tasks[0].annotations
    assert [a.annotator for a in annotations] == ["1", "prediction v1"]


def test_everything_that_did_not_count_is_listed_with_its_reason(
    make_session: MakeSession, tmp_path: Path
) -> None:
    export = export_of(
        make_session(),
        by(1, A, day=1),
        by(2, B, day=2),
        by(3, C, FAR, was_cancelled=True),
        drafts=[by(4, A)],
        predictions=[{"result": [brush_region(A, id="p")]}],
    )
    report = convert(export, out_root=tmp_path)
    told = [(skip.region, skip.reason) for skip in report.left_out]
    assert told == [
        ("1-0", "belongs to an older annotation"),
        ("3-0", "its annotation was cancelled"),
        ("3-1", "its annotation was cancelled"),
        ("4-0", "a draft, not submitted"),
        ("p", "a prediction, not drawn by a person"),
    ]
    audit = json.loads((tmp_path / "composite_part.audit.json").read_text())
    assert [(skip["region"], skip["reason"]) for skip in audit["left_out"]] == told
    assert "left out: 2 regions: its annotation was cancelled" in report.describe()
