import copy
import json
from pathlib import Path
from typing import Any

import pytest
from annotation_builders import group_number, make_region, make_task, write_export
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.regions import Export, Region
from loco_tools.errors import AnnotationError

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def read(tmp_path: Path, *tasks: Any) -> Export:
    return read_export(write_export(tmp_path / "export.json", *tasks))


def only_region(export: Export) -> Region:
    (region,) = export.regions()
    return region


def test_a_single_task_is_read_like_a_list_of_one(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    path.write_text(json.dumps(make_task(make_region())), encoding="utf-8")
    region = only_region(read_export(path))
    assert (region.task, region.id, region.type) == (1, "abcdefghij", "rectanglelabels")
    assert (region.shape, region.labels, region.size) == ("rectangle", ("scratch",), (48, 64))
    assert region.image == "/data/upload/1/0a1b2c3d-photo.png"


def test_tool_and_label_with_one_id_are_one_region(tmp_path: Path) -> None:
    tool = make_region("rectangle")
    label = make_region("labels", value={**tool["value"], "labels": ["Moon"]}, from_name="labels")
    for result in ([tool, label], [label, tool]):
        region = only_region(read(tmp_path, make_task(*result)))
        assert (region.type, region.labels) == ("rectangle", ("Moon",))


def test_a_single_label_item_gets_its_shape_from_its_geometry(tmp_path: Path) -> None:
    value = {"points": [[1, 1], [5, 1], [5, 5]], "labels": ["Moon"]}
    region = only_region(read(tmp_path, make_task(make_region("labels", value=value))))
    assert (region.type, region.shape) == ("labels", "polygon")


def test_a_per_region_number_named_group_is_the_group(tmp_path: Path) -> None:
    other = {**group_number("abcdefghij", 9), "from_name": "severity"}
    numbers = [other, group_number("abcdefghij", 2)]
    assert only_region(read(tmp_path, make_task(make_region(), *numbers))).group == 2


def test_what_draws_nothing_is_no_region_and_not_skipped(tmp_path: Path) -> None:
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    choice = make_region("choices", value={"choices": ["good"]}, id="c")
    export = read(tmp_path, make_task(relation, choice, group_number("lost", 1)))
    assert (export.regions(), export.all_skipped()) == ([], [])


def test_cancelled_annotations_drafts_and_predictions_are_left_out(tmp_path: Path) -> None:
    drawn = [make_region()]
    cancelled = {"was_cancelled": True, "result": drawn}
    task = make_task(
        annotations=[cancelled],
        drafts=[{"result": drawn}],
        predictions=[{"model_version": "1", "result": drawn}],
    )
    export = read(tmp_path, task)
    assert (export.regions(), export.all_skipped()) == ([], [])
    assert export.tasks[0].annotations == ()


def test_item_index_tells_the_image(tmp_path: Path) -> None:
    data = {"images": ["/data/upload/1/a.png", "/data/upload/1/b.png"], "thumb": "t.png"}
    region = make_region(item_index=1)
    assert only_region(read(tmp_path, make_task(region, data=data))).image == data["images"][1]


def test_with_several_image_tags_the_tag_tells_the_image(tmp_path: Path) -> None:
    data = {"top": "/data/upload/1/a.png", "side": "/data/upload/1/b.png", "text": "side"}
    export = read(tmp_path, make_task(make_region(to_name="side"), data=data))
    assert only_region(export).image == "/data/upload/1/b.png"
    assert export.tasks[0].images == ("/data/upload/1/a.png", "/data/upload/1/b.png")


def test_an_older_brush_has_its_code_next_to_its_value(tmp_path: Path) -> None:
    item = make_region("brush", value={"format": "rle"}, rle=[1, 2, 3])
    assert only_region(read(tmp_path, make_task(item))).value["rle"] == b"\x01\x02\x03"


def test_json_min_is_read(tmp_path: Path) -> None:
    row = {
        "id": 5,
        "image": "/data/upload/1/0a1b2c3d-a.png",
        "label": [
            {
                "x": 1,
                "y": 2,
                "width": 3,
                "height": 4,
                "rotation": 0,
                "rectanglelabels": ["dent"],
                "original_width": 64,
                "original_height": 48,
            },
            {
                "format": "rle",
                "rle": [0],
                "brushlabels": ["dent"],
                "original_width": 64,
                "original_height": 48,
            },
        ],
        "choice": "bad",
        "annotator": 3,
        "annotation_id": 9,
        "updated_at": "2026-01-01",
    }
    export = read(tmp_path, row)
    assert [region.shape for region in export.regions()] == ["rectangle", "brush"]
    assert {region.size for region in export.regions()} == {(48, 64)}
    assert {region.labels for region in export.regions()} == {("dent",)}
    annotation = export.tasks[0].annotations[0]
    assert (annotation.id, annotation.annotator, annotation.time) == ("9", "3", "2026-01-01")


@pytest.mark.parametrize(("given_id", "read_as"), [(None, 1), ("x7", "x7"), (True, 1), ({}, 1)])
def test_a_task_without_a_usable_id_gets_its_number(
    tmp_path: Path, given_id: Any, read_as: Any
) -> None:
    assert read(tmp_path, make_task(task=given_id)).tasks[0].id == read_as


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (make_region(value=None), "expected a geometry under value, got nothing"),
        (make_region(value=[1]), "expected a geometry under value, got a list of 1"),
        (make_region(original_width="64"), "original_width: expected a whole number of pixels"),
        (make_region(original_height=-4), "original_height: expected .* got -4"),
        (make_region(original_height=1e300), "original_height: expected"),
        (make_region(item_index="1"), "item_index: expected a whole number from 0, got '1'"),
        (17, "expected a region as an object, got 17"),
    ],
)
def test_what_cannot_be_understood_is_skipped_with_its_reason(
    tmp_path: Path, item: Any, reason: str
) -> None:
    export = read(tmp_path, make_task(item, make_region(id="whole")))
    assert [region.id for region in export.regions()] == ["whole"]
    (skipped,) = export.all_skipped()
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(skipped.reason)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (3, "expected a task as an object, got 3"),
        (make_task(annotations={}), "expected annotations as a list, got an object"),
        (make_task(annotations=[5]), "expected an annotation as an object, got 5"),
        (make_task(annotations=[{"result": "x"}]), "result as a list, got 'x'"),
    ],
)
def test_a_task_of_the_wrong_form_is_skipped(tmp_path: Path, task: Any, reason: str) -> None:
    export = read(tmp_path, task, make_task(make_region()))
    assert len(export.regions()) == 1
    assert reason in export.all_skipped()[0].reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "expected a JSON export"),
        (b"\xff\xfe\xff", "expected a JSON export"),
        (b"7", "expected a Label Studio export .* got 7"),
        (b'{"a": 1}', "unknown kind with the keys a; next step: export the project"),
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"annotations": ' + b'{"a":' * 100_000, "nested too deeply"),
        (b"1" * 5000, "expected a JSON export"),
    ],
)
def test_a_file_that_is_no_export_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        read_export(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none\.json: cannot be read"):
        read_export(tmp_path / "none.json")


def test_half_a_surrogate_pair_becomes_printable(tmp_path: Path) -> None:
    export = read(tmp_path, make_task(make_region(value={"x": 1, "rectanglelabels": ["\ud800"]})))
    assert only_region(export).labels == ("\\ud800",)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_junk_anywhere_is_skipped_or_refused_but_never_a_crash(
    tmp_path: Path, data: st.DataObject
) -> None:
    task = copy.deepcopy(make_task(make_region(), group_number("abcdefghij", 1)))
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(task)
    node, key = data.draw(st.sampled_from(places))
    node[key] = data.draw(JUNK)
    export = read(tmp_path, task)
    assert len(export.regions()) <= 2
