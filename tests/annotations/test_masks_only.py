import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import (
    HEIGHT,
    WIDTH,
    box,
    brush_region,
    make_region,
    make_task,
    write_export,
)

from loco_tools.annotations import masks_only
from loco_tools.annotations.masks_only import export_masks
from loco_tools.datasets.images import read_mask, write_png
from loco_tools.errors import AnnotationError


def record_of(out: Path) -> dict[str, list[dict[str, Any]]]:
    record: dict[str, list[dict[str, Any]]] = json.loads((out / "regions.json").read_text())
    return record


def files_in(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def test_each_region_becomes_a_black_and_white_mask_of_the_image(tmp_path: Path) -> None:
    mask = box(10, 20, 30, 40)
    keypoint = make_region("keypoint", id="k", value={"x": 1, "y": 1, "width": 1})
    export = write_export(
        tmp_path / "export.json",
        make_task(make_region(), keypoint, brush_region(mask, "dent", id="b"), task=12),
    )
    report = export_masks(export, tmp_path / "out")
    assert np.array_equal(read_mask(tmp_path / "out/12/1_dent.png"), mask * np.uint8(255))
    assert record_of(tmp_path / "out") == {
        "regions": [
            {
                "task": 12,
                "image": "/data/upload/1/0a1b2c3d-photo.png",
                "region": "abcdefghij",
                "type": "rectanglelabels",
                "label": "scratch",
                "area_px": HEIGHT * WIDTH // 4,
                "file": "12/0_scratch.png",
                "item_index": 0,
            },
            {
                "task": 12,
                "image": "/data/upload/1/0a1b2c3d-photo.png",
                "region": "b",
                "type": "brushlabels",
                "label": "dent",
                "area_px": 400,
                "file": "12/1_dent.png",
                "item_index": 0,
            },
        ],
        "skipped": [
            {
                "task": 12,
                "region": "k",
                "type": "keypoint",
                "reason": "a keypoint has no area that could become a mask",
            }
        ],
        "left_out": [],
        "notes": [
            "2 regions on 1 image: no file of that name was found "
            "(/data/upload/1/0a1b2c3d-photo.png); their masks have the size that the export "
            "gives, and do not follow an EXIF orientation"
        ],
    }
    assert set(files_in(tmp_path / "out")) == {"12/0_scratch.png", "12/1_dent.png", "regions.json"}
    assert report.counts() == {"brushlabels": (1, 0), "keypoint": (0, 1), "rectanglelabels": (1, 0)}
    assert "skipped 1 keypoint: a keypoint has no area" in report.describe()


@pytest.mark.parametrize(
    ("label", "file"),
    [
        ("../../x", "1/0__x.png"),
        ("a b/c\\d:e", "1/0_a_b_c_d_e.png"),
        ("CON", "1/0_CON.png"),
        ("Löcher", "1/0_Löcher.png"),
        ("x" * 500, f"1/0_{'x' * 100}.png"),
        ("\0", "1/0__.png"),
    ],
)
def test_hostile_labels_stay_inside_the_folder(tmp_path: Path, label: str, file: str) -> None:
    value = {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": [label]}
    export = write_export(tmp_path / "e" / "export.json", make_task(make_region(value=value)))
    export_masks(export, tmp_path / "out")
    assert record_of(tmp_path / "out")["regions"][0]["file"] == file
    assert set(files_in(tmp_path)) == {"e/export.json", f"out/{file}", "out/regions.json"}


def test_hostile_and_repeated_task_ids_never_overwrite_each_other(tmp_path: Path) -> None:
    tasks = [make_task(make_region(), task=task) for task in ("../a", "_a", "_A", 4, 4)]
    export_masks(write_export(tmp_path / "export.json", *tasks), tmp_path / "out")
    files = [region["file"] for region in record_of(tmp_path / "out")["regions"]]
    assert files == [
        "_a/0_scratch.png",
        "_a/1_scratch.png",
        "_A/2_scratch.png",
        "4/0_scratch.png",
        "4/1_scratch.png",
    ]


def test_a_region_without_a_label_is_unlabelled(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export.json", make_task(make_region("rectangle")))
    export_masks(export, tmp_path / "out")
    (region,) = record_of(tmp_path / "out")["regions"]
    assert (region["label"], region["file"]) == (None, "1/0_unlabelled.png")


def test_without_a_size_in_the_export_the_image_is_looked_for(tmp_path: Path) -> None:
    export = write_export(
        tmp_path / "a" / "export.json",
        make_task(make_region(original_width=None, original_height=None)),
    )
    report = export_masks(export, tmp_path / "out")
    assert "was not found; next step: give the folder of the images" in report.skipped[0].reason
    images = tmp_path / "images" / "deep"
    write_png(images / "photo.png", np.zeros((7, 8, 3), dtype=np.uint8))
    assert export_masks(export, tmp_path / "out", images=tmp_path / "images").regions
    assert read_mask(tmp_path / "out/1/0_scratch.png").shape == (7, 8)
    write_png(export.parent / "photo.png", np.zeros((3, 4, 3), dtype=np.uint8))
    export_masks(export, tmp_path / "out")
    assert read_mask(tmp_path / "out/1/0_scratch.png").shape == (3, 4)


def test_a_region_outside_of_its_image_is_skipped(tmp_path: Path) -> None:
    value = {"x": 200, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["a"]}
    export = write_export(tmp_path / "export.json", make_task(make_region(value=value)))
    report = export_masks(export, tmp_path / "out")
    assert [skip.reason for skip in report.skipped] == ["covers no pixel of the image"]


def test_a_brush_that_claims_a_billion_pixels_is_skipped(tmp_path: Path) -> None:
    code = [*(4 * 10**9).to_bytes(4, "big"), 57, 27, 255, 6, 0, 0]
    value = {"format": "rle", "rle": code}
    small = make_region("brush", value=value)
    large = make_region("brush", value=value, id="l", original_width=31_623, original_height=31_623)
    report = export_masks(
        write_export(tmp_path / "export.json", make_task(small, large)), tmp_path / "out"
    )
    assert "claims 4000000000" in report.skipped[0].reason
    assert "expected an image of 1 to 200000000 pixels" in report.skipped[1].reason


def test_running_again_replaces_the_whole_output(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export.json", make_task(make_region()))
    export_masks(export, tmp_path / "out")
    first = files_in(tmp_path / "out")
    (tmp_path / "out" / "1" / "9_old.png").touch()
    export_masks(export, tmp_path / "out")
    assert files_in(tmp_path / "out") == first


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export.json", make_task(make_region()))
    out = tmp_path / "out"
    out.mkdir()
    export_masks(export, out)
    (out / "regions.json").write_text('{"mine": 1}')
    with pytest.raises(AnnotationError, match="not empty and was not written by --masks-only"):
        export_masks(export, out)
    assert (out / "regions.json").read_text() == '{"mine": 1}'
    export_masks(export, out, overwrite=True)
    assert record_of(out)["regions"]


def test_the_folder_of_the_export_is_never_replaced(tmp_path: Path) -> None:
    export = write_export(tmp_path / "a" / "export.json", make_task(make_region()))
    with pytest.raises(AnnotationError, match=r"would be replaced, but holds .*export\.json"):
        export_masks(export, tmp_path / "a", overwrite=True)
    with pytest.raises(AnnotationError, match="expected a folder for the masks, got a file"):
        export_masks(export, export, overwrite=True)
    with pytest.raises(AnnotationError, match="expected a folder of images, found none"):
        export_masks(export, tmp_path / "out", images=tmp_path / "none")


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_the_old_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    export = write_export(tmp_path / "export.json", make_task(make_region()))
    export_masks(export, tmp_path / "out")
    before = files_in(tmp_path)

    def fail(*args: Any) -> None:
        raise fault

    monkeypatch.setattr(masks_only, "write_png", fail)
    with pytest.raises(type(fault)):
        export_masks(export, tmp_path / "out")
    assert files_in(tmp_path) == before


PROJECTS = {
    "ellipse/annotations/1.json": {"ellipselabels": (0, 1)},
    "magic_wand/annotations/1.json": {"magicwand": (2, 0)},
    "mixed_shapes/annotations/1.json": {
        "brush": (1, 0),
        "ellipse": (1, 0),
        "keypoint": (0, 3),
        "polygon": (1, 0),
        "rectangle": (2, 0),
        "rectanglelabels": (2, 0),
    },
    "multi_image/annotations/1.json": {"rectanglelabels": (0, 1)},
    "polygons/export.json": {"polygonlabels": (1, 0)},
    "rotated_rectangles/export.json": {"rectanglelabels": (25, 0)},
}
"""Masks made and regions skipped, by type. The two projects without masks tell no image sizes."""


@pytest.mark.parametrize("export", PROJECTS)
def test_real_projects_give_these_masks(real_projects: Path, tmp_path: Path, export: str) -> None:
    report = export_masks(real_projects / export, tmp_path / "out")
    assert report.counts() == PROJECTS[export]
    for region in report.regions:
        mask = read_mask(tmp_path / "out" / region.file)
        assert set(np.unique(mask)) <= {0, 255}
        assert np.count_nonzero(mask) == region.area_px


@pytest.mark.parametrize("project", ["ellipse", "multi_image"])
def test_real_projects_without_sizes_take_them_from_the_photo(
    real_projects: Path, tmp_path: Path, project: str
) -> None:
    export = real_projects / project / "annotations" / "1.json"
    report = export_masks(export, tmp_path / "out", images=real_projects / "mixed_shapes")
    assert (len(report.regions), report.skipped) == (1, ())
    assert read_mask(tmp_path / "out" / report.regions[0].file).shape == (2802, 2242)


@pytest.mark.parametrize("project", ["magic_wand", "mixed_shapes"])
def test_real_brushes_equal_label_studios_own_masks(
    real_projects: Path, tmp_path: Path, project: str
) -> None:
    report = export_masks(real_projects / project / "annotations" / "1.json", tmp_path / "out")
    brushes = [region for region in report.regions if region.type in {"brush", "magicwand"}]
    for region in brushes:
        (expected,) = (real_projects / "expected_masks").glob(f"*_{region.region}.png")
        mask = read_mask(tmp_path / "out" / region.file)
        assert np.array_equal(mask > 0, read_mask(expected) >= 128)
    assert len(brushes) == {"magic_wand": 2, "mixed_shapes": 1}[project]
