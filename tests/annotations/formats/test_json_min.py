from pathlib import Path
from typing import Any

import numpy as np
from annotation_builders import HEIGHT, WIDTH, box, brush_region, write_export

from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.regions import Region

SIZE = {"original_width": WIDTH, "original_height": HEIGHT}
RECTANGLE = {"x": 1, "y": 2, "width": 30, "height": 40, "rotation": 0, **SIZE}


def regions_of(tmp_path: Path, **controls: Any) -> list[Region]:
    row = {"id": 5, "image": "a.png", "annotator": 3, "annotation_id": 9, **controls}
    return read_export(write_export(tmp_path / "export.json", row)).regions()


def test_tool_label_and_number_of_one_shape_are_one_region(tmp_path: Path) -> None:
    painted = brush_region(box(5, 5, 20, 20))["value"]
    code = {"format": "rle", "rle": painted["rle"], **SIZE}
    regions = regions_of(
        tmp_path,
        label=[{**RECTANGLE, "labels": ["dent"]}, {**code, "labels": ["scratch"]}],
        rectangle=[RECTANGLE],
        brush=[code],
        group=[{**code, "number": 4}],
        verdict={"choices": ["anomalous"]},
    )
    assert [(r.shape, r.labels, r.group) for r in regions] == [
        ("rectangle", ("dent",), None),
        ("brush", ("scratch",), 4),
    ]
    assert np.array_equal(regions[1].mask((HEIGHT, WIDTH)), box(5, 5, 20, 20))


def test_the_same_shape_drawn_twice_stays_two_regions(tmp_path: Path) -> None:
    twice = [{**RECTANGLE, "rectanglelabels": ["dent"]}] * 2
    regions = regions_of(tmp_path, label=twice)
    assert len(regions) == len({region.id for region in regions}) == 2


def test_the_same_shape_on_two_images_stays_two_regions(tmp_path: Path) -> None:
    first = {**RECTANGLE, "rectanglelabels": ["dent"], "item_index": 0}
    regions = regions_of(tmp_path, label=[first, {**first, "item_index": 1}], image=["a", "b"])
    assert [region.image for region in regions] == ["a", "b"]


def test_two_rows_of_one_task_are_two_annotations(tmp_path: Path) -> None:
    rows = [{"id": 5, "image": "a.png", "annotator": n, "annotation_id": n} for n in (1, 2)]
    export = read_export(write_export(tmp_path / "export.json", *rows))
    assert [(t.id, t.annotations[0].annotator) for t in export.tasks] == [(5, "1"), (5, "2")]
