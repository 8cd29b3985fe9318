import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import HEIGHT, WIDTH, box, default_truth

from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.mask_to_shape import overlap
from loco_tools.annotations.formats.shapes import rasterise
from loco_tools.annotations.simulated import annotate_session
from loco_tools.annotations.taxonomy import Taxonomy
from loco_tools.errors import AnnotationError

MakeSession = Callable[..., Path]


def tasks_of(export: Path) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = json.loads(export.read_bytes())
    return tasks


def test_every_anomalous_shot_is_a_task_and_a_hidden_defect_an_empty_result(
    make_session: MakeSession, taxonomy: Taxonomy
) -> None:
    export = annotate_session(make_session(), taxonomy)
    tasks = tasks_of(export)
    assert export.name == "labelstudio.json"
    assert [task["data"]["loco_shot"] for task in tasks] == [f"p000{n}-top" for n in range(4, 8)]
    assert [len(task["annotations"]) for task in tasks] == [1, 1, 1, 1]
    assert tasks[3]["annotations"][0]["result"] == []
    data = tasks[0]["data"]
    assert (data["loco_class"], data["loco_session"]) == ("composite_part", "session-001")
    assert re.fullmatch(r"/data/upload/1/[0-9a-f]{8}-p0004-top\.png", data["image"])


def test_regions_have_every_key_that_the_server_writes(
    make_session: MakeSession, taxonomy: Taxonomy
) -> None:
    tasks = tasks_of(annotate_session(make_session(), taxonomy))
    for task in tasks:
        assert {"id", "data", "annotations", "drafts", "predictions", "file_upload"} <= task.keys()
        annotation = task["annotations"][0]
        assert {"completed_by", "created_at", "updated_at", "ground_truth"} <= annotation.keys()
        assert annotation["was_cancelled"] is False
        for item in annotation["result"]:
            assert item.keys() == {
                "original_width", "original_height", "image_rotation", "value", "id", "from_name",
                "to_name", "type", "origin",
            }  # fmt: skip
            assert (item["original_width"], item["original_height"]) == (WIDTH, HEIGHT)
            assert re.fullmatch(r"[\w-]{10}", item["id"])
            assert item["origin"] == "manual"


def test_pieces_of_one_defect_are_regions_of_one_group(
    make_session: MakeSession, taxonomy: Taxonomy
) -> None:
    export = read_export(annotate_session(make_session(), taxonomy))
    scratched, twice, misplaced, _ = (task.annotations[0].regions for task in export.tasks)
    assert [(r.labels, r.group) for r in scratched] == [(("scratch",), 1)]
    assert [(r.labels, r.group) for r in twice] == [(("scratch",), 1), (("dent",), 2)]
    assert [(r.labels, r.group) for r in misplaced] == [(("misplaced_screw",), 1)] * 2


def test_what_is_drawn_covers_the_truth(make_session: MakeSession, taxonomy: Taxonomy) -> None:
    export = read_export(annotate_session(make_session(), taxonomy))
    for task in export.tasks:
        truth = [mask for _, mask in default_truth().get(task.data["loco_shot"], [])]
        for group, mask in enumerate(truth, start=1):
            regions = [r for r in task.annotations[0].regions if r.group == group]
            drawn = np.logical_or.reduce([r.mask((HEIGHT, WIDTH)) for r in regions])
            assert np.count_nonzero(drawn & mask) / np.count_nonzero(drawn | mask) >= 0.9


def test_ellipses_polygons_and_brushes_all_occur(
    make_session: MakeSession, taxonomy: Taxonomy
) -> None:
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 20}
    masks = [
        rasterise("ellipse", value, height=HEIGHT, width=WIDTH),
        box(10, 10, 30, 40),
        box(5, 5, 40, 40) & ~box(12, 12, 30, 30),
    ]
    truth = {f"p000{n}-top": [("scratch", mask) for mask in masks] for n in range(4, 8)}
    export = read_export(annotate_session(make_session(truth=truth), taxonomy))
    types = Counter((region.type, region.group) for region in export.regions())
    assert types["ellipselabels", 1] >= 1
    assert types["polygonlabels", 2] >= 1
    assert types["brushlabels", 3] == 4
    for region in export.regions():
        shape = region.type.removesuffix("labels")
        assert overlap(shape, dict(region.value), masks[(region.group or 0) - 1]) >= 0.9


def test_a_scattered_defect_is_one_brush(make_session: MakeSession, taxonomy: Taxonomy) -> None:
    specks = box(1, 1, 5, 5) | box(8, 8, 20, 20) | box(30, 30, 35, 34) | box(40, 50, 45, 55)
    session = make_session(truth={"p0004-top": [("scratch", specks)]})
    (region,) = read_export(annotate_session(session, taxonomy)).regions()
    assert region.type == "brushlabels"
    assert np.array_equal(region.mask((HEIGHT, WIDTH)), specks)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    session = make_session()
    first = annotate_session(session, taxonomy).read_bytes()
    assert annotate_session(session, taxonomy).read_bytes() == first
    other = annotate_session(session, taxonomy, tmp_path / "other.json", seed=1)
    assert other.read_bytes() != first


def test_real_photographs_are_left_to_people(make_session: MakeSession, taxonomy: Taxonomy) -> None:
    with pytest.raises(AnnotationError, match="has real photographs, whose defects only people"):
        annotate_session(make_session(simulated=False), taxonomy)


def test_a_defect_that_the_taxonomy_lacks_is_named(
    make_session: MakeSession, taxonomy: Taxonomy
) -> None:
    session = make_session(truth={"p0004-top": [("scrach", box(1, 1, 20, 20))]})
    with pytest.raises(AnnotationError, match='unknown defect "scrach"; did you mean "scratch"'):
        annotate_session(session, taxonomy)
