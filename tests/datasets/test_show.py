"""The summary and the contact sheet of a class."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from loco_tools.datasets import load
from loco_tools.datasets.show import COLOURS, contact_sheet, rows_of, write_contact_sheet
from loco_tools.datasets.summary import summarise
from loco_tools.errors import DatasetError


class Images(HTMLParser):
    """Collects the attributes of every image, and the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.found.append(dict(attrs))


def test_the_summary_counts_images_masks_and_areas(make_loco_class: Callable[..., Path]) -> None:
    summary = summarise(load(make_loco_class()))
    assert summary.images == {
        "train/good": 4,
        "validation/good": 2,
        "test/good": 3,
        "test/logical_anomalies": 2,
        "test/structural_anomalies": 2,
    }
    assert summary.masks == 5
    shown = summary.describe()
    assert "plate (mvtec_loco): 13 images" in shown
    assert "sizes: 48 x 32 px (13 images)" in shown
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert "extra_hole logical 1 1 254 50 % of area 40 px" in rows
    assert "missing_hole logical 2 2 255 20 px 40 px" in rows
    assert "scratch structural 2 2 100 whole area 40 px" in rows


def test_the_sheet_has_a_row_for_good_images_of_each_split_and_for_each_defect(
    make_loco_class: Callable[..., Path],
) -> None:
    rows = list(rows_of(load(make_loco_class(train=20)), examples=2))
    assert [row.title for row in rows] == [
        "good, train", "good, validation", "good, test", "extra_hole", "missing_hole", "scratch",
    ]  # fmt: skip
    assert [len(row.tiles) for row in rows] == [4, 2, 3, 2, 4, 4]
    assert rows[4].details == ("logical defect", "2 images, 2 masks", "saturates at 20 px")


@pytest.mark.parametrize(("row", "kind"), [(4, "logical"), (5, "structural")])
def test_the_outline_has_the_colour_of_its_kind_and_leaves_the_defect_visible(
    make_loco_class: Callable[..., Path], row: int, kind: str
) -> None:
    tile = list(rows_of(load(make_loco_class())))[row].tiles[0].pixels
    assert (tile == COLOURS[kind]).all(axis=2).any()
    scale = tile.shape[1] / 48
    middle = tile[round(6.5 * scale), round(6 * scale)]  # of the box at (4, 2), 5 x 8 pixels
    assert middle.tolist() == [255, 255, 255]


def test_a_defect_of_one_pixel_in_a_large_image_is_still_outlined(
    make_ad_class: Callable[..., Path],
) -> None:
    folder = make_ad_class(size=(900, 1200), train=1, good=1, defects={"dot": 1})
    mask = np.zeros((900, 1200), np.uint8)
    mask[700, 333] = 255
    cv2.imwrite(str(folder / "ground_truth/dot/000_mask.png"), mask)
    whole, close_up = list(rows_of(load(folder)))[-1].tiles
    for tile in (whole, close_up):
        assert (tile.pixels == COLOURS["structural"]).all(axis=2).any()
    assert close_up.caption == "close-up, 1 px"


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (32, 48), (2, 2)])
def test_images_of_any_shape_fit_the_sheet(
    make_ad_class: Callable[..., Path], size: tuple[int, int]
) -> None:
    folder = make_ad_class(size=size, train=2, good=1, defects={"dot": 1})
    mask = np.zeros(size, np.uint8)
    mask[-1, -1] = 255
    cv2.imwrite(str(folder / "ground_truth/dot/000_mask.png"), mask)
    sheet = contact_sheet(load(folder))
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3


def test_the_page_needs_no_other_file_and_escapes_every_name(
    make_ad_class: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_ad_class('<script>"x"', defects={"<b>crack": 2})
    png, html = tmp_path / "out/sheet.png", tmp_path / "out/sheet.html"
    write_contact_sheet(load(folder), png, html)
    page = html.read_text(encoding="utf-8")
    parser = Images()
    parser.feed(page)
    assert not parser.tags & {"script", "b", "link"}
    assert "http" not in page
    assert parser.found
    for image in parser.found:
        assert (image["src"] or "").startswith("data:image/png;base64,")
        assert image["alt"]
    assert "prefers-color-scheme: dark" in page
    sheet = cv2.imread(str(png))
    assert sheet is not None
    assert (sheet[..., ::-1] == contact_sheet(load(folder))).all()


def test_the_summary_and_the_page_mark_simulated_images(
    make_loco_class: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_loco_class()
    dataset = load(folder)
    lines = [
        json.dumps({"image": s.image_path.relative_to(folder).as_posix(), "simulated": True})
        for s in dataset
    ]
    folder.with_name("plate.jsonl").write_text("\n".join(lines[:4]))
    assert "(mvtec_loco, 4 of 13 SIMULATED images)" in summarise(dataset).describe()
    folder.with_name("plate.jsonl").write_text("\n".join(lines))
    write_contact_sheet(dataset, tmp_path / "sheet.png", tmp_path / "sheet.html")
    assert "mvtec_loco, SIMULATED images" in (tmp_path / "sheet.html").read_text()


def test_a_class_with_only_good_images_has_a_sheet(make_ad_class: Callable[..., Path]) -> None:
    dataset = load(make_ad_class(defects={}))
    assert summarise(dataset).describe().endswith("defects: 0 types, 0 masks")
    assert contact_sheet(dataset).shape[2] == 3


def test_a_damaged_image_is_named(make_loco_class: Callable[..., Path]) -> None:
    folder = make_loco_class()
    dataset = load(folder)
    path = folder / "train/good/000.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"train/good/000\.png: damaged"):
        contact_sheet(dataset)
