import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from annotation_builders import (
    HEIGHT,
    WIDTH,
    box,
    brush_region,
    group_number,
    make_region,
    make_task,
)
from fuzzing import damaged, fuzz, hostile_json, within_bounds
from hypothesis import strategies as st

from loco_tools.annotations.formats import brush_rle
from loco_tools.annotations.masks_only import export_masks

POLYGON = {"points": [[10, 10], [60, 20], [30, 80]], "polygonlabels": ["scratch"]}
ELLIPSE = {"x": 40, "y": 50, "radiusX": 10, "radiusY": 20, "rotation": 30, "ellipselabels": ["a"]}
RELATION = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
EXPORT = [
    make_task(
        make_region(id="a"),
        make_region("polygonlabels", id="b", value=POLYGON),
        make_region("ellipselabels", id="c", value=ELLIPSE),
        brush_region(box(5, 5, 20, 30), id="d"),
        group_number("a", 1),
        RELATION,
    ),
    make_task(make_region(id="a"), task=2, predictions=[{"result": [make_region()]}]),
    make_task(task=3, drafts=[{"result": [make_region()]}]),
]
JSON_MIN = [
    {
        "id": 1,
        "image": "/data/upload/1/0a1b2c3d-photo.png",
        "tool": [{**make_region()["value"], "original_width": WIDTH, "original_height": HEIGHT}],
        "annotation_id": 1,
    }
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("exports")
    yield folder
    shutil.rmtree(folder)


@fuzz(content=hostile_json([EXPORT, EXPORT, JSON_MIN, EXPORT[0]]))
def test_exports(folder: Path, content: bytes) -> None:
    export = folder / "export.json"
    export.write_bytes(content)
    with within_bounds():
        export_masks(export, folder / "masks", overwrite=True, predictions=True)


@fuzz(content=damaged([json.dumps(EXPORT).encode(), json.dumps(JSON_MIN).encode()]))
def test_damaged_exports(folder: Path, content: bytes) -> None:
    export = folder / "export.json"
    export.write_bytes(content)
    with within_bounds():
        export_masks(export, folder / "masks", overwrite=True)


NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
CODES = [
    bytes(brush_rle.encode(image))
    for image in (NOISE, box(5, 5, 20, 30).astype(np.uint8) * 255, np.zeros_like(NOISE))
]


@fuzz(code=damaged(CODES) | st.binary(), size=st.sampled_from([(HEIGHT, WIDTH), (1, 1), (9, 2000)]))
def test_run_length_codes(code: bytes, size: tuple[int, int]) -> None:
    with within_bounds():
        assert brush_rle.decode(code, *size).shape == size
