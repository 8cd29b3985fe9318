import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import (
    HEIGHT,
    WIDTH,
    box,
    brush_region,
    default_truth,
    group_number,
    make_region,
    make_task,
    write_export,
)
from python_page import examples

from loco_tools import files
from loco_tools.annotations.convert import convert
from loco_tools.annotations.simulated import annotate_session
from loco_tools.annotations.taxonomy import Taxonomy
from loco_tools.datasets.images import read_mask
from loco_tools.errors import AnnotationError

MakeSession = Callable[..., Path]
SHOTS = ("p0004-top", "p0005-top", "p0006-top", "p0007-top")


def everything(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def export_of(session: Path, changes: dict[str, list[Any]] | None = None, **more: Any) -> Path:
    """An export with a scratch in every anomalous shot, or what `changes` says, per shot."""
    results = {shot: [brush_region(box(5, 5, 20, 20))] for shot in SHOTS} | (changes or {})
    tasks = [
        make_task(*result, task=number, shot=shot, **more)
        for number, (shot, result) in enumerate(results.items(), start=1)
    ]
    return write_export(session / "labelstudio.json", *tasks)


def sidecar_of(data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data / "composite_part.jsonl").read_text().splitlines()]


def test_a_session_and_its_export_become_a_loco_class(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    session = make_session()
    report = convert(annotate_session(session, taxonomy), out_root=tmp_path / "data")
    files = everything(tmp_path / "data" / "composite_part")
    assert set(files) == {
        "defects_config.json",
        "readme.txt",
        "train/good/000.png",
        "train/good/001.png",
        "validation/good/000.png",
        "test/good/000.png",
        "test/good/001.png",
        "test/logical_anomalies/000.png",
        "test/structural_anomalies/000.png",
        "test/structural_anomalies/001.png",
        "ground_truth/logical_anomalies/000/000.png",
        "ground_truth/structural_anomalies/000/000.png",
        "ground_truth/structural_anomalies/001/000.png",
        "ground_truth/structural_anomalies/001/001.png",
    }
    assert report.images == {
        "test/good": 2,
        "test/logical_anomalies": 1,
        "test/structural_anomalies": 2,
        "train/good": 2,
        "validation/good": 1,
    }
    assert report.defects == {"dent": 1, "misplaced_screw": 1, "scratch": 2}
    assert (
        files["test/logical_anomalies/000.png"]
        == (session / "images" / "p0006-top.png").read_bytes()
    )
    assert b"SIMULATED" in files["readme.txt"]
    assert "(SIMULATED images)" in report.describe()


def test_two_regions_of_one_group_are_one_mask_with_the_defects_pixel_value(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    convert(annotate_session(make_session(), taxonomy), out_root=tmp_path)
    mask = read_mask(tmp_path / "composite_part/ground_truth/logical_anomalies/000/000.png")
    truth = default_truth()["p0006-top"][0][1]
    assert mask.shape == (HEIGHT, WIDTH)
    assert set(np.unique(mask)) == {0, taxonomy.defect("misplaced_screw").pixel_value}
    assert np.count_nonzero((mask > 0) != truth) <= 4


def test_the_configuration_has_the_types_that_the_official_loader_asserts(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    convert(annotate_session(make_session(), taxonomy), out_root=tmp_path)
    config = json.loads((tmp_path / "composite_part" / "defects_config.json").read_text())
    assert [entry["defect_name"] for entry in config] == [d.name for d in taxonomy.defects]
    for entry in config:
        assert isinstance(entry["saturation_threshold"], float) == entry["relative_saturation"]
    # the smaller head, 10 mm across flats, at 2 px per mm
    assert config[0]["saturation_threshold"] == round(10**2 * 3**0.5 / 2 * 4)


def test_the_sidecar_tells_where_each_image_comes_from(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    convert(annotate_session(make_session(), taxonomy), out_root=tmp_path)
    lines = sidecar_of(tmp_path)
    assert len(lines) == 8
    hidden = lines[-1]
    assert {key: hidden[key] for key in ("image", "kind", "part_kind", "part", "view")} == {
        "image": "test/good/001.png",
        "kind": "good",
        "part_kind": "logical",
        "part": "p0007",
        "view": "top",
    }
    misplaced = lines[-2]
    assert misplaced["annotators"] == ["1"]
    assert (misplaced["simulated"], misplaced["session"]) == (True, "session-001")
    assert [(d["name"], d["mask"], len(d["regions"])) for d in misplaced["defects"]] == [
        ("misplaced_screw", "ground_truth/logical_anomalies/000/000.png", 2)
    ]
    for line in lines:
        image = tmp_path / "composite_part" / line["image"]
        assert line["sha256"] == files.sha256_of(image)


def test_converting_again_gives_the_same_bytes(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    export = annotate_session(make_session(), taxonomy)
    data = tmp_path / "data"
    convert(export, out_root=data)
    first = everything(data)
    convert(export, out_root=data)
    assert everything(data) == first
    convert(export, out_root=tmp_path / "elsewhere")
    assert everything(tmp_path / "elsewhere") == first


def test_the_converted_class_is_loaded_as_it_was_annotated(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("loco_tools.datasets")
    convert(annotate_session(make_session(), taxonomy), out_root=tmp_path)
    loaded = datasets.load(tmp_path / "composite_part")
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (2, 1, 5)
    kinds = [sample.kind for sample in loaded.test]
    assert sorted(kinds) == ["good", "good", "logical", "structural", "structural"]
    assert {sample.part for sample in loaded.test} == {f"p000{n}" for n in range(3, 8)}


def test_an_image_with_both_kinds_of_defects_counts_as_logical(
    make_session: MakeSession, tmp_path: Path
) -> None:
    both = [
        brush_region(box(5, 5, 20, 20), "scratch", id="a"),
        brush_region(box(15, 15, 30, 30), "missing_screw", id="b"),
    ]
    report = convert(export_of(make_session(), {"p0004-top": both}), out_root=tmp_path)
    assert report.images["test/logical_anomalies"] == 1
    assert "test/logical_anomalies/000.png: scratch and missing_screw overlap in 25 px" in (
        report.notes
    )


def test_regions_without_a_group_number_are_instances_of_their_own(
    make_session: MakeSession, tmp_path: Path
) -> None:
    boxes = [box(5, 5, 20, 20), box(25, 5, 40, 20), box(5, 30, 20, 45)]
    regions = [brush_region(mask, id=str(n)) for n, mask in enumerate(boxes)]
    grouped = [*regions, group_number("1", 4), group_number("2", 4)]
    export = export_of(make_session(), {"p0004-top": regions, "p0005-top": grouped})
    convert(export, out_root=tmp_path)
    truth = tmp_path / "composite_part" / "ground_truth" / "structural_anomalies"
    assert len(list((truth / "000").iterdir())) == 3
    assert [np.count_nonzero(read_mask(path)) for path in sorted((truth / "001").iterdir())] == [
        225,
        450,
    ]


def test_the_annotation_changed_last_counts_and_every_annotator_is_named(
    make_session: MakeSession, tmp_path: Path
) -> None:
    def by(who: int, day: int, *result: Any) -> dict[str, Any]:
        return {"completed_by": who, "updated_at": f"2026-01-0{day}", "result": list(result)}

    session = make_session()
    old, new = brush_region(box(5, 5, 9, 9)), brush_region(box(5, 5, 30, 30))
    export = export_of(session, annotations=[by(3, 2, new), by(2, 1, old)])
    convert(export, out_root=tmp_path)
    line = next(line for line in sidecar_of(tmp_path) if line["shot"] == "p0004-top")
    assert (line["annotators"], line["defects"][0]["area_px"]) == (["2", "3"], 625)


def test_a_threshold_larger_than_the_defect_is_noted_with_its_numbers(
    make_session: MakeSession, tmp_path: Path
) -> None:
    small = [brush_region(box(5, 5, 15, 15), "missing_screw")]
    report = convert(export_of(make_session(), {"p0006-top": small}), out_root=tmp_path)
    assert any(
        "missing_screw saturates at 346 px, but only 100 px are marked" in note
        for note in report.notes
    )
    assert any("taken as misplaced_screw, marked missing_screw" in note for note in report.notes)


def test_a_good_test_part_that_was_marked_is_an_anomaly(
    make_session: MakeSession, tmp_path: Path
) -> None:
    marked = {"p0003-top": [brush_region(box(5, 5, 20, 20))]}
    report = convert(export_of(make_session(), marked), out_root=tmp_path)
    assert report.images["test/structural_anomalies"] == 5
    assert any("taken as good, marked scratch" in note for note in report.notes)


def test_a_session_elsewhere_is_given_or_named_by_the_tasks(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()
    export = annotate_session(session, taxonomy, tmp_path / "away" / "export.json")
    convert(export, out_root=tmp_path / "given", sessions=[session])
    monkeypatch.chdir(tmp_path)
    convert(export, out_root=tmp_path / "named")
    given, named = everything(tmp_path / "given"), everything(tmp_path / "named")
    assert given == named


def test_an_export_without_a_session_asks_for_one(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export.json", make_task(make_region()))
    with pytest.raises(AnnotationError, match="give the folder of the photographs with --session"):
        convert(export, out_root=tmp_path)


def test_two_sessions_of_a_class_become_one_class(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    first, second = make_session("a"), make_session("b", px_per_mm=2.5)
    tasks = [
        *json.loads(annotate_session(first, taxonomy).read_bytes()),
        *json.loads(annotate_session(second, taxonomy).read_bytes()),
    ]
    export = write_export(tmp_path / "export.json", *tasks)
    report = convert(export, out_root=tmp_path / "data", sessions=[first, second])
    assert report.images["train/good"] == 4
    assert any("scales differ (2 to 2.5 px per mm)" in note for note in report.notes)
    for task in tasks:
        del task["data"]["loco_session"]
    write_export(export, *tasks)
    with pytest.raises(AnnotationError, match=r"could be .*a/images/.* or .*b/images/"):
        convert(export, out_root=tmp_path / "data", sessions=[first, second])


def test_images_that_no_session_has_are_named_in_one_error(
    make_session: MakeSession, tmp_path: Path
) -> None:
    strange = {f"p9{n:03d}-top": [] for n in range(14)}
    export = export_of(make_session(), strange)
    with pytest.raises(AnnotationError) as fault:
        convert(export, out_root=tmp_path / "data")
    message = str(fault.value)
    assert "names 14 images outside of" in message
    assert "p9000-top.png (task 5)" in message
    assert "and 4 more; next step: give their session" in message
    assert not (tmp_path / "data").exists()


def test_anomalous_photographs_without_an_annotation_are_named(
    make_session: MakeSession, tmp_path: Path
) -> None:
    cancelled = export_of(
        make_session(), annotations=[{"was_cancelled": True, "result": [make_region()]}]
    )
    with pytest.raises(AnnotationError, match="an anomalous part, got none of 4 photographs"):
        convert(cancelled, out_root=tmp_path / "data")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            [brush_region(box(1, 1, 9, 9), "scrach")],
            'region abcdefghij: .*unknown defect "scrach"; did you mean "scratch"',
        ),
        ([make_region("rectangle")], "expected one label, got none; next step: correct it"),
        (
            [make_region(original_width=640)],
            r"was drawn on an image of 640 x 48 pixels, but .*p0004-top\.png has 64 x 48",
        ),
        (
            [make_region("keypoint", value={"x": 1, "y": 1, "width": 1})],
            "nothing that was drawn could become a mask .*a keypoint has no area",
        ),
        (
            [make_region("brush", value={"rle": [1], "brushlabels": ["scratch"]})],
            "nothing that was drawn could become a mask .*breaks off in its header",
        ),
        (
            [make_region(item_index=3)],
            "become a mask .*image number 4 of its task, which has 1",
        ),
    ],
)
def test_an_unusable_region_is_an_error_and_nothing_is_written(
    make_session: MakeSession, tmp_path: Path, result: list[Any], message: str
) -> None:
    export = export_of(make_session(), {"p0004-top": result})
    with pytest.raises(AnnotationError, match=message):
        convert(export, out_root=tmp_path / "data")
    assert everything(tmp_path / "data") == {}


def test_json_min_is_converted_too(make_session: MakeSession, tmp_path: Path) -> None:
    rows = [
        {
            "image": f"/data/upload/1/0a1b2c3d-{shot}.png",
            "id": number,
            "annotator": 1,
            "annotation_id": number,
            "tool": [{**brush_region(box(5, 5, 20, 20))["value"], "original_width": WIDTH}],
        }
        for number, shot in enumerate(SHOTS, start=1)
    ]
    export = write_export(make_session() / "min.json", *rows)
    report = convert(export, out_root=tmp_path / "data")
    assert report.defects == {"scratch": 4}


def test_a_keypoint_next_to_a_mask_is_reported(make_session: MakeSession, tmp_path: Path) -> None:
    keypoint = make_region("keypoint", id="k", value={"x": 1, "y": 1, "width": 1})
    marked = [brush_region(box(5, 5, 20, 20)), keypoint]
    report = convert(export_of(make_session(), {"p0004-top": marked}), out_root=tmp_path)
    assert [(skip.region, skip.type) for skip in report.skipped] == [("k", "keypoint")]
    audit = json.loads((tmp_path / "composite_part.audit.json").read_text())
    assert audit["skipped"][0]["reason"] == "a keypoint has no area that could become a mask"
    assert audit["notes"] == list(report.notes)


def test_a_defect_on_a_training_image_is_an_error(
    make_session: MakeSession, tmp_path: Path
) -> None:
    export = export_of(make_session(), {"p0000-top": [brush_region(box(5, 5, 20, 20))]})
    with pytest.raises(AnnotationError, match="got defects on 1 photograph: session-001/p0000-top"):
        convert(export, out_root=tmp_path / "data")


@pytest.mark.parametrize("damage", ["shorten", "remove"])
def test_a_damaged_photograph_is_named_and_leaves_the_old_class(
    make_session: MakeSession, tmp_path: Path, damage: str
) -> None:
    session = make_session()
    export = export_of(session)
    convert(export, out_root=tmp_path / "data")
    before = everything(tmp_path / "data")
    image = session / "images" / "p0001-top.png"
    if damage == "shorten":
        image.write_bytes(image.read_bytes()[:-30])
    else:
        image.unlink()
    with pytest.raises(
        AnnotationError, match=r"p0001-top\.png: (damaged or edited|cannot be read)"
    ):
        convert(export, out_root=tmp_path / "data")
    assert everything(tmp_path / "data") == before


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_the_old_class(
    make_session: MakeSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
) -> None:
    session = make_session()
    convert(export_of(session), out_root=tmp_path / "data")
    before = everything(tmp_path / "data")
    export = export_of(session, {"p0004-top": [brush_region(box(5, 5, 9, 9))]})
    whole, writes = files.write_bytes, []

    def fail_at_last(path: Path, content: bytes) -> None:
        writes.append(path)
        if path.name.endswith(".audit.json"):
            raise fault
        whole(path, content)

    monkeypatch.setattr(files, "write_bytes", fail_at_last)
    with pytest.raises(type(fault)):
        convert(export, out_root=tmp_path / "data")
    assert len(writes) > 10
    assert everything(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("change", r"defects_config\.json: was changed since the class was converted"),
        ("add", r"test/good/notes\.txt: was added since"),
        ("remove", r"test/good/000\.png: is gone since"),
        ("foreign", "no conversion is known to have written it"),
    ],
)
def test_a_class_that_was_edited_is_not_overwritten_unasked(
    make_session: MakeSession, tmp_path: Path, edit: str, message: str
) -> None:
    export = export_of(make_session(), {"p0007-top": []})
    convert(export, out_root=tmp_path)
    clean = everything(tmp_path / "composite_part")
    folder = tmp_path / "composite_part"
    if edit == "change":
        (folder / "defects_config.json").write_text("[]")
    elif edit == "add":
        (folder / "test" / "good" / "notes.txt").touch()
    elif edit == "remove":
        (folder / "test" / "good" / "000.png").unlink()
    else:
        (tmp_path / "composite_part.audit.json").unlink()
    edited = everything(folder)
    with pytest.raises(AnnotationError, match=message):
        convert(export, out_root=tmp_path)
    assert everything(folder) == edited
    convert(export, out_root=tmp_path, overwrite=True)
    assert everything(folder) == clean


def test_the_folder_of_the_session_is_never_replaced(
    make_session: MakeSession, tmp_path: Path
) -> None:
    export = export_of(make_session())
    with pytest.raises(AnnotationError, match=r"would be replaced, but holds .*labelstudio"):
        convert(export, out_root=tmp_path / "captures", overwrite=True)
    assert export.is_file()


def test_thresholds_on_the_part_need_a_scale(make_session: MakeSession, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="the session has no scale"):
        convert(export_of(make_session(px_per_mm=None)), out_root=tmp_path)


def test_the_example_of_the_python_page_runs(
    make_session: MakeSession,
    taxonomy: Taxonomy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    annotate_session(make_session(), taxonomy)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    exec(examples()["Convert a Label Studio export"], namespace)  # noqa: S102
    assert namespace["report"].folder == Path("data/composite_part")
    assert namespace["composite_part"].name == "composite_part"
