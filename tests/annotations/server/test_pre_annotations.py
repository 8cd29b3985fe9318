import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from annotation_builders import HEIGHT, WIDTH, Mask, box, brush_region

from loco_tools.annotations.server.pre_annotations import (
    Proposal,
    Proposals,
    proposals_of,
    results_of,
)
from loco_tools.capture.session import Session, read_session, read_shots
from loco_tools.datasets.maps import write_map
from loco_tools.errors import AnnotationError

IMAGES = {
    "p0003-top": "test/good/000.png",
    "p0004-top": "test/structural_anomalies/000.png",
    "p0006-top": "test/logical_anomalies/000.png",
}


@pytest.fixture
def session(make_session: Callable[..., Path]) -> Path:
    return make_session()


def make_run(
    folder: Path, marked: dict[str, Mask], cells: tuple[str, ...] = ("patchcore/0",)
) -> Path:
    for cell in cells:
        maps = folder / "run" / "maps" / cell / "composite_part"
        for shot, image in IMAGES.items():
            anomaly = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
            anomaly[marked.get(shot, box(0, 0, 0, 0))] = 5 if "good" not in image else 1
            write_map((maps / image).with_suffix(".tiff"), anomaly)
    lines = [
        json.dumps({"image": image, "shot": shot, "session": "session-001"})
        for shot, image in IMAGES.items()
    ]
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "composite_part.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "run"


def read(run: Path, record: Session, **settings: object) -> Proposals:
    return proposals_of(run, record, data=run.parent / "data", **settings)  # type: ignore[arg-type]


def test_pixels_above_the_quantile_of_good_images_become_connected_regions(
    session: Path, tmp_path: Path
) -> None:
    large, small, speck = box(2, 2, 20, 30), box(30, 30, 40, 40), box(45, 60, 46, 61)
    good = box(0, 0, 10, 10)  # scores 1 on 100 of 3072 pixels
    run = make_run(tmp_path, {"p0003-top": good, "p0004-top": large | small, "p0006-top": speck})
    proposals = read(run, read_session(session), quantile=0.99)
    assert proposals.version == "patchcore, seed 0, quantile 0.99"
    regions = proposals.by_shot["p0004-top"].regions
    assert all(np.array_equal(*pair) for pair in zip(regions, (large, small), strict=True))
    assert proposals.by_shot["p0003-top"].regions == ()


def test_scores_are_ranks_among_the_runs_images(session: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, {"p0004-top": box(2, 2, 20, 30)})
    proposals = read(run, read_session(session))
    assert {shot: round(one.score, 3) for shot, one in proposals.by_shot.items()} == {
        "p0003-top": 0.667,
        "p0004-top": 1.0,
        "p0006-top": 0.667,
    }
    scores = run / "cells" / "patchcore" / "composite_part" / "0" / "scores.csv"
    scores.parent.mkdir(parents=True)
    rows = [("good", -3.0), ("structural_anomalies", 8.0), ("logical_anomalies", 9.5)]
    lines = [f"000,x,{folder},[],{score}" for folder, score in rows]
    scores.write_text("\n".join(["id,kind,kind_folder,defects,score", *lines]) + "\n")
    assert read(run, read_session(session)).by_shot["p0006-top"].score == 1.0
    scores.write_text("id,kind_folder,score\n000,good,high\n")
    with pytest.raises(AnnotationError, match="expected the scores of a finished cell"):
        read(run, read_session(session))


def test_a_proposal_is_a_brush_with_the_planned_label_in_one_group(session: Path) -> None:
    shots = {shot.shot: shot for shot in read_shots(session)}
    mask = box(2, 2, 20, 30)
    items = results_of(Proposal(1.0, (mask, box(30, 30, 40, 40))), shots["p0004-top"], 2)
    assert [item["type"] for item in items] == ["brush", "labels", "number"] * 2
    assert items[0]["value"]["rle"] == brush_region(mask)["value"]["rle"]
    assert items[1]["value"]["labels"] == ["scratch"]
    assert {item["value"]["number"] for item in items if item["type"] == "number"} == {1}
    assert {item["item_index"] for item in items} == {2}
    assert len({item["id"] for item in items}) == 2
    assert results_of(Proposal(1.0, (mask,)), shots["p0003-top"], None) == []


def test_several_cells_have_to_be_chosen_from(session: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, {}, cells=("patchcore/0", "patchcore/1", "simplenet/0"))
    record = read_session(session)
    with pytest.raises(AnnotationError, match="give --method, one of patchcore, simplenet"):
        read(run, record)
    with pytest.raises(AnnotationError, match="give --seed, one of 0, 1"):
        read(run, record, method="patchcore")
    with pytest.raises(AnnotationError, match='no method patchcor; did you mean "patchcore"'):
        read(run, record, method="patchcor")
    assert read(run, record, method="patchcore", seed=1).version.startswith("patchcore, seed 1")


def test_a_run_without_maps_of_the_session_is_refused(session: Path, tmp_path: Path) -> None:
    record = read_session(session)
    with pytest.raises(AnnotationError, match="expected a benchmark run with anomaly maps"):
        proposals_of(tmp_path / "none", record, data=tmp_path / "data")
    run = make_run(tmp_path, {})
    with pytest.raises(AnnotationError, match="number between 0 and 1, got 1"):
        read(run, record, quantile=1.0)
    with pytest.raises(AnnotationError, match="give the folder of classes with --data"):
        proposals_of(run, record, data=tmp_path / "elsewhere")
    other = record.model_copy(update={"session": "session-002"})
    with pytest.raises(AnnotationError, match="has no map of session session-002"):
        read(run, other)
