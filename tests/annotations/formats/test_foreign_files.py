"""Files of other kinds are named with what to export instead; exports never are."""

import gzip
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from annotation_builders import (
    HEIGHT,
    WIDTH,
    box,
    brush_region,
    group_number,
    make_region,
    make_task,
    write_export,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.foreign import description
from loco_tools.cli import run
from loco_tools.errors import AnnotationError

BOX = [6, 5, 13, 9]
OUTLINE = [[6, 5], [19, 5], [19, 14]]
COCO_ANNOTATION = {"id": 0, "image_id": 0, "category_id": 0, "bbox": BOX, "segmentation": [[6, 5]]}
STORED = {"id": 17, "result": [make_region()], "completed_by": {"id": 1}, "task": {"id": 5}}
OLD_TASK = {"id": 1, "data": {"image": "a.png"}, "completions": [{"result": [make_region()]}]}
ROW = {
    "id": 1,
    "image": "a.png",
    "label": [{**make_region()["value"], "original_width": WIDTH, "original_height": HEIGHT}],
    "annotator": 1,
    "annotation_id": 10,
}
OBJECTS: list[tuple[str, dict[str, Any]]] = [
    (
        "COCO annotations",
        {
            "info": {},
            "images": [{"id": 0, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
            "categories": [{"id": 0, "name": "scratch"}],
            "annotations": [COCO_ANNOTATION],
        },
    ),
    ("COCO annotations", COCO_ANNOTATION),
    (
        "labelme",
        {
            "shapes": [{"label": "scratch", "points": OUTLINE, "shape_type": "polygon"}],
            "imagePath": "a.png",
        },
    ),
    ("Labelbox", {"ID": "ck1", "Labeled Data": "https://x/a.png", "Label": {"objects": []}}),
    ("Labelbox", {"data_row": {"external_id": "a.png"}, "projects": {}}),
    ("VGG Image Annotator", {"a.png12": {"filename": "a.png", "size": 12, "regions": []}}),
    ("VGG Image Annotator", {"_via_settings": {}, "_via_img_metadata": {}}),
    ("before 1.0", OLD_TASK),
    ("target storage", STORED),
    (
        "webhook",
        {"action": "ANNOTATION_CREATED", "task": {"id": 1}, "annotation": STORED, "project": {}},
    ),
    ("webhook", {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 1}], "project": {}}),
    ("page of Label Studio's API", {"total": 1, "tasks": [make_task(make_region())]}),
    ("page of Label Studio's API", {"count": 1, "next": None, "results": [make_task()]}),
    ("tasks to import", {"image": "a.png"}),
    ("tasks to import", {"data": {"image": "a.png"}}),
    ("unknown kind", {"saturation": 1, "defect_name": "scratch"}),
]
BYTES = [
    ("CVAT", b"<?xml version='1.0'?><!-- <View> --><annotations><image id='0'/></annotations>"),
    ("Pascal VOC", b"<annotation><filename>a.png</filename></annotation>"),
    ("web page", b"<!DOCTYPE html><html lang='en'></html>"),
    ("labelling configuration", b'<View><Image name="image" value="$image"/></View>'),
    ("an XML file", b"<gpx/>"),
    ("YOLO", b"0 0.2 0.2 0.2 0.2\n"),
    ("YOLO", b"\n2 .1 .1 .5 .1 1e-3 .7\n"),
    ("CSV or TSV", b'annotation_id,image,label\n1,a.png,"[]"\n'),
    ("CSV or TSV", b'\xef\xbb\xbf"image"\t"annotator"\t"label"\n'),
    ("gzip archive", gzip.compress(b"[]", mtime=0)),
    ("Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    ("error message", b'{"detail": "Invalid token.", "status_code": 401}'),
    ("NDJSON", (json.dumps(make_task(make_region())) + "\n").encode() * 2),
    ("labelme", (json.dumps(OBJECTS[2][1]) + "\n").encode() * 2),
]
SIGNIFICANT = {key for _, entry in OBJECTS for key in entry}
OWN = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EXTRA = st.dictionaries(
    st.text("abcxyz_", min_size=1, max_size=5).filter(lambda key: key not in SIGNIFICANT),
    st.sampled_from([None, 0, 2.5, "text", [], {}, [1], {"x": "y"}]),
    max_size=4,
)


def named(path: Path) -> str:
    """What the error of a reader says about a file."""
    with pytest.raises(AnnotationError, match="expected a Label Studio export") as caught:
        read_export(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "next step: " in message
    assert "\n" not in message
    return message


@OWN
@given(st.data(), st.sampled_from(OBJECTS), EXTRA, st.booleans())
def test_an_object_of_another_kind_is_named_in_any_order_of_its_keys(
    tmp_path: Path,
    data: st.DataObject,
    kind: tuple[str, dict[str, Any]],
    extra: dict[str, Any],
    listed: bool,
) -> None:
    name, entry = kind
    shuffled = dict(data.draw(st.permutations([*extra.items(), *entry.items()])))
    path = tmp_path / "export.json"
    path.write_text(json.dumps([shuffled] if listed else shuffled))
    assert name in named(path)


@pytest.mark.parametrize(("name", "content"), BYTES)
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(content)
    assert name in named(path)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("result.json", "[]")
    path = tmp_path / "export.json"
    path.write_bytes(packed.getvalue())
    assert "got a ZIP archive; next step: unpack it" in named(path)


def test_a_folder_is_named_with_what_is_in_it(tmp_path: Path) -> None:
    assert "got a folder; next step: name the file" in named(tmp_path)
    (tmp_path / "17").write_text(json.dumps(STORED))
    assert "got a folder; its file 17 is a single annotation" in named(tmp_path)


@OWN
@given(
    st.data(),
    st.lists(
        st.sampled_from(
            [
                make_task(),
                make_task(make_region()),
                make_task(make_region("polygonlabels"), group_number("abcdefghij", 1)),
                make_task(brush_region(box(1, 1, 9, 9)), shot="p0001-top"),
                make_task(annotations=[], predictions=[{"result": [make_region()]}]),
                make_task(annotations=[], drafts=[{"result": [make_region()]}]),
                {"data": {"image": "a.png"}, "predictions": [286]},
                ROW,
                {**ROW, "label": json.dumps(ROW["label"])},
                {"id": 1, "image": "a.png", "label": ROW["label"]},
                {"id": 1, "image": "a.png", "annotator": 1},
            ]
        ),
        min_size=1,
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from(sorted(SIGNIFICANT - {"data", "annotations", "image", "id", "result"})),
        st.sampled_from([None, 0, "text", [], {}]),
    ),
)
def test_no_export_is_taken_for_another_kind(
    tmp_path: Path, data: st.DataObject, tasks: list[Any], columns: dict[str, Any]
) -> None:
    # the data of a task may have any column
    tasks = [
        {**task, "data": {**columns, **task["data"]}} if "data" in task else {**columns, **task}
        for task in tasks
    ]
    shuffled = [dict(data.draw(st.permutations(list(task.items())))) for task in tasks]
    path = write_export(tmp_path / "export.json", *shuffled)
    assert description(path) is None
    assert len(read_export(path).tasks) == len(tasks)


def test_tasks_without_annotations_before_others_are_read(tmp_path: Path) -> None:
    path = write_export(tmp_path / "export.json", {"data": {"image": "a.png"}}, make_task())
    assert len(read_export(path).tasks) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no JSON", "got text that begins with 'no JSON'; next step"),
        (b'[{"id": 1, "da', "got the file's end in the entry at byte 1; next step"),
        (b'[{"id" 1}]', "got a syntax error at byte 7, in the entry at byte 1; next step"),
    ],
)
def test_what_no_format_knows_is_told_in_plain_words(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError) as caught:
        read_export(path)
    assert said in str(caught.value)
    assert "(char" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AnnotationError, match=r"cannot be read .it is a named pipe"):
        read_export(tmp_path / "pipe")


def test_regions_of_json_min_that_are_a_text_are_read(tmp_path: Path) -> None:
    row = {**ROW, "label": json.dumps(ROW["label"]), "note": "[1] see [2]", "other": '["a"]'}
    (region,) = read_export(write_export(tmp_path / "export.json", row)).regions()
    assert (region.shape, region.labels, region.size) == (
        "rectangle",
        ("scratch",),
        (HEIGHT, WIDTH),
    )


def test_real_exports_are_no_other_kind(real_projects: Path) -> None:
    exports = [*real_projects.glob("*/export.json"), *real_projects.glob("*/annotations/*")]
    assert len(exports) == 6
    for path in exports:
        assert description(path) is None
        assert read_export(path).regions()


def test_convert_ends_with_exit_code_1_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_export(tmp_path / "export.json", COCO_ANNOTATION)
    assert run(["convert", str(path), "--masks-only", "--out", str(tmp_path / "masks")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "got a list of COCO annotations; next step: export the project" in line
    assert not (tmp_path / "masks").exists()
