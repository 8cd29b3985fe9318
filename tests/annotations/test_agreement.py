import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotation_builders import Mask, box, brush_region, make_task, write_export
from hypothesis import given
from hypothesis import strategies as st

from loco_tools.annotations.agreement import agreement, cohen_kappa
from loco_tools.errors import AnnotationError

MakeSession = Callable[..., Path]
A, B = box(0, 0, 10, 20), box(0, 10, 10, 30)
NAMES = st.sampled_from(["good", "structural", "logical"])


def by(who: int, *marks: tuple[Mask, str], **more: Any) -> dict[str, Any]:
    result = [brush_region(mask, label, id=f"{i}") for i, (mask, label) in enumerate(marks)]
    return {"completed_by": who, "updated_at": "2026-01-01", "result": result, **more}


def export_of(session: Path, **shots: list[Any]) -> Path:
    tasks = [
        make_task(shot=f"{shot}-top", task=shot, annotations=annotations)
        for shot, annotations in shots.items()
    ]
    return write_export(session / "labelstudio.json", *tasks)


def test_each_defect_is_compared_pair_by_pair(make_session: MakeSession) -> None:
    export = export_of(
        make_session(),
        p0004=[by(1, (A, "scratch")), by(2, (B, "scratch"))],
        p0005=[by(1, (A, "scratch"), (A, "missing_screw")), by(2, (A, "scratch"))],
        p0006=[by(1, (A, "scratch"))],
        p0007=[by(1), by(2)],
    )
    report = agreement(export)
    assert report.images == 3
    missing, scratch = report.defects
    assert (missing.defect, missing.pairs, missing.mean_iou, missing.missed) == (
        "missing_screw", 1, 0.0, 1,
    )  # fmt: skip
    assert (scratch.defect, scratch.pairs, scratch.missed) == ("scratch", 2, 0)
    assert scratch.mean_iou == pytest.approx((1 / 3 + 1) / 2)
    assert scratch.lowest_iou == pytest.approx(1 / 3)
    (kinds,) = report.kinds
    assert (kinds.annotators, kinds.images, kinds.agreement) == (("1", "2"), 3, 2 / 3)
    # by hand: 1 said structural, logical, good; 2 structural, structural, good
    assert report.kappa == pytest.approx((2 / 3 - 3 / 9) / (1 - 3 / 9))
    assert [(look.image, look.defect) for look in report.look_again] == [
        ("session-001/p0005-top", "missing_screw"),
        ("session-001/p0004-top", "scratch"),
    ]
    assert report.describe().splitlines() == [
        "agreement on 3 images: Cohen's kappa of kinds 0.50",
        "  missing_screw: mean IoU 0.00, lowest 0.00, 1 of 1 pair without overlap",
        "  scratch: mean IoU 0.67, lowest 0.33, 0 of 2 pairs without overlap",
        "  1 and 2: same kind for 67% of 3 images, kappa 0.50",
        "look again: session-001/p0005-top (1 logical, 2 structural); missing_screw overlaps with "
        "IoU 0.00",
        "look again: session-001/p0004-top (1 structural, 2 structural); scratch overlaps with "
        "IoU 0.33",
    ]
    assert json.loads(json.dumps(report.as_record()))["look_again"][0]["kinds"]["1"] == "logical"


def test_all_regions_of_one_defect_are_compared_as_one_mask(make_session: MakeSession) -> None:
    left, right = box(0, 0, 10, 10), box(0, 10, 10, 20)
    marks = [by(1, (A, "dent")), by(2, (left, "dent"), (right, "dent"))]
    report = agreement(export_of(make_session(), p0004=marks))
    assert (report.defects[0].mean_iou, report.look_again) == (1.0, ())


def test_only_the_last_word_of_people_counts(make_session: MakeSession) -> None:
    old = by(1, (B, "dent"), updated_at="2025")
    cancelled = by(3, (B, "dent"), was_cancelled=True)
    marks = [by(1, (A, "dent")), old, by(2, (A, "dent")), cancelled]
    report = agreement(export_of(make_session(), p0004=marks))
    assert report.defects[0].mean_iou == 1.0
    assert report.kappa is None
    assert "kappa undefined" in report.describe()


def test_a_single_annotator_gives_no_agreement(make_session: MakeSession) -> None:
    report = agreement(export_of(make_session(), p0004=[by(1, (A, "dent"))]))
    assert report.describe() == "agreement: no image was annotated by two people"


def test_the_threshold_for_another_look_is_a_share(make_session: MakeSession) -> None:
    export = export_of(make_session(), p0004=[by(1, (A, "dent")), by(2, (B, "dent"))])
    assert agreement(export, look_again_iou=0.3).look_again == ()
    with pytest.raises(AnnotationError, match="expected 0 to 1, got 2"):
        agreement(export, look_again_iou=2)


def test_kappa_by_hand() -> None:
    one = ["a"] * 45 + ["b"] * 15 + ["a"] * 25 + ["b"] * 15
    other = ["a"] * 45 + ["b"] * 15 + ["b"] * 25 + ["a"] * 15
    assert cohen_kappa(one, other) == pytest.approx((0.60 - 0.54) / (1 - 0.54))  # Cohen 1960


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=20))
def test_kappa_is_symmetric_at_most_1_and_1_for_equal_raters(pairs: list[tuple[str, str]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    kappa = cohen_kappa(one, other)
    assert kappa == cohen_kappa(other, one)
    assert kappa is None or -1 <= kappa <= 1
    assert cohen_kappa(one, one) == (None if len(set(one)) == 1 else 1)
