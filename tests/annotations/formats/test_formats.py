import json
from pathlib import Path

import numpy as np
import pytest
from annotation_builders import box, make_region, make_task, write_export

from loco_tools.annotations.formats import FORMATS, json_min, label_studio, read_export
from loco_tools.annotations.masks_only import export_masks
from loco_tools.datasets.images import read_mask
from loco_tools.errors import AnnotationError

ROW = {"id": 5, "image": "a.png", "annotator": 3, "annotation_id": 9}
BOXES = """\
image,width,height,label,left,top,right,bottom
plate.png,64,48,scratch,8,4,24,16
plate.png,64,48,dent,30,10,60,40
"""


def test_a_new_format_needs_only_its_module_and_its_line_in_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "CSV boxes", "csv_boxes")  # the module tests/annotations/csv_boxes
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(BOXES)
    report = export_masks(boxes, tmp_path / "masks")
    assert [(region.label, region.area_px) for region in report.regions] == [
        ("scratch", 16 * 12),
        ("dent", 30 * 30),
    ]
    mask = read_mask(tmp_path / "masks" / "1" / "0_scratch.png") > 0
    assert np.array_equal(mask, box(4, 8, 16, 24))


def test_the_other_formats_are_read_as_before_when_one_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "CSV boxes", "csv_boxes")
    for entry in (make_task(make_region()), {**ROW, "tool": [make_region()["value"]]}):
        export = read_export(write_export(tmp_path / "export.json", entry))
        assert len(export.regions()) == 1


def test_each_format_recognises_its_own_files(tmp_path: Path) -> None:
    full = write_export(tmp_path / "full.json", 1, make_task(make_region()))
    rows = write_export(tmp_path / "min.json", None, ROW)
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(ROW))
    modules = (label_studio, json_min)
    assert [module.recognises(full) for module in modules] == [True, False]
    assert [module.recognises(rows) for module in modules] == [False, True]
    assert [module.recognises(alone) for module in modules] == [False, True]


@pytest.mark.parametrize("content", ["", "[]", "[1, 2]", "no JSON", "{", '{"a": 1}', "\x00"])
def test_no_format_recognises_a_file_without_tasks(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    assert not label_studio.recognises(path)
    assert not json_min.recognises(path)
    if content not in {"[]", "[1, 2]"}:
        with pytest.raises(AnnotationError, match=r"file\.json: expected a"):
            read_export(path)
