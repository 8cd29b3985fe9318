import json

import cv2
import numpy as np
import pytest

import loco_tools
from loco_tools.datasets.export import export
from loco_tools.datasets.images import write_png
from loco_tools.errors import DatasetError


def sidecar_of(folder):
    lines = folder.with_name(f"{folder.name}.jsonl").read_text().splitlines()
    return {record["image"]: record for record in map(json.loads, lines)}


def test_loco_becomes_ad_with_merged_masks_in_folders_of_the_defects(make_loco_class, tmp_path):
    source = loco_tools.load(make_loco_class())
    report = export(source, "ad", tmp_path / "ad" / "plate")
    target = loco_tools.load(tmp_path / "ad" / "plate")
    assert target.describe() == (
        "plate (mvtec_ad): train 4, validation 2, test 3 good, 1 combined, 1 missing_hole, "
        "2 scratch; 4 masks"
    )
    assert report.images["test/combined"] == 1
    combined = next(s for s in target.test if s.kind_folder == "combined")
    assert np.array_equal(combined.ground_truth(), source.test[4].ground_truth())
    assert set(np.unique(combined.defects[0].values())) == {0, 255}
    assert combined.image_path.read_bytes() == source.test[4].image_path.read_bytes()


def test_an_export_to_ad_lists_what_is_lost(make_loco_class, tmp_path):
    config = [
        {
            "defect_name": name,
            "pixel_value": value,
            "saturation_threshold": 1.0,
            "relative_saturation": True,
        }
        for name, value in (("1_hole", 255), ("extra_hole", 254), ("scratch", 100))
    ]
    source = loco_tools.load(make_loco_class(config=config))
    text = export(source, "ad", tmp_path / "ad" / "plate").describe()
    for message in (
        "lost: saturation thresholds and pixel values",
        "lost: which anomalies are logical: 2 images",
        "lost: separate masks of 1 image with several defects",
        "lost: the defect types of images with several: 1 image is in combined",
        "skips folders whose names have characters other than letters and underscores: 1_hole",
    ):
        assert message in text


def test_ad_becomes_loco_with_one_value_per_defect(make_ad_class, tmp_path):
    source = loco_tools.load(make_ad_class(gray=True, validation=2))
    out = tmp_path / "loco" / "bottle"
    export(source, "loco", out)
    target = loco_tools.load(out)
    assert target.describe() == (
        "bottle (mvtec_loco): train 6, validation 2, test 3 good, 3 structural_anomalies; 3 masks"
    )
    assert [(s.id, s.defects[0].name, s.defects[0].pixel_value) for s in target.test[3:]] == [
        ("000", "crack", 255),
        ("001", "crack", 255),
        ("002", "scratch2", 254),
    ]
    for old, new in zip(source.test, target.test, strict=True):
        assert np.array_equal(old.image(), new.image())
        assert np.array_equal(old.ground_truth(), new.ground_truth())
        assert cv2.imread(str(new.image_path), cv2.IMREAD_UNCHANGED).ndim == 3
    entries = json.loads((out / "defects_config.json").read_text())
    assert [type(entry["saturation_threshold"]) for entry in entries] == [float, float]


def test_the_sidecar_names_the_source_of_each_image(make_ad_class, tmp_path):
    folder = make_ad_class()
    line = {"image": "test/scratch2/000.png", "part": "p1", "view": "top", "simulated": True}
    folder.with_name("bottle.jsonl").write_text(json.dumps(line))
    out = tmp_path / "loco" / "bottle"
    report = export(loco_tools.load(folder), "loco", out)
    record = sidecar_of(out)["test/structural_anomalies/002.png"]
    assert record["source"] == "test/scratch2/000.png"
    assert (record["part"], record["simulated"]) == ("p1", True)
    assert loco_tools.load(out).test[-1].view == "top"
    assert report.as_record()["sidecar"] == str(out.with_name("bottle.jsonl"))


def test_exporting_twice_names_the_last_source(make_loco_class, tmp_path):
    export(loco_tools.load(make_loco_class()), "ad", tmp_path / "ad" / "plate")
    export(loco_tools.load(tmp_path / "ad" / "plate"), "loco", tmp_path / "back" / "plate")
    record = sidecar_of(tmp_path / "back" / "plate")["test/structural_anomalies/000.png"]
    assert record["source"] == "test/combined/000.png"


def test_gaps_in_the_numbers_close_and_other_formats_become_png(make_ad_class, tmp_path):
    folder = make_ad_class(suffix=".jpg")
    (folder / "train/good/002.jpg").unlink()
    export(loco_tools.load(folder), "loco", tmp_path / "loco" / "bottle")
    names = sorted(p.name for p in (tmp_path / "loco/bottle/train/good").iterdir())
    assert names == [f"{n:03d}.png" for n in range(5)]


def test_loco_keeps_kinds_values_thresholds_and_unused_defects(make_loco_class, tmp_path):
    source = loco_tools.load(make_loco_class(structural=()))
    export(source, "loco", tmp_path / "copy" / "plate")
    copied = loco_tools.load(tmp_path / "copy" / "plate")
    for old, new in zip(source.test, copied.test, strict=True):
        assert old.kind == new.kind
        assert [(d.name, d.pixel_value, d.threshold) for d in old.defects] == [
            (d.name, d.pixel_value, d.threshold) for d in new.defects
        ]
    entries = json.loads((tmp_path / "copy/plate/defects_config.json").read_text())
    assert [entry["defect_name"] for entry in entries][-1] == "scratch"


def test_nothing_is_overwritten_by_default(make_loco_class, tmp_path):
    dataset = loco_tools.load(make_loco_class())
    out = tmp_path / "ad" / "plate"
    export(dataset, "ad", out)
    with pytest.raises(DatasetError, match=r"plate: exists; next step: .*--overwrite"):
        export(dataset, "ad", out)
    (out / "mine.txt").write_text("x")
    export(dataset, "ad", out, overwrite=True)
    assert not (out / "mine.txt").exists()


def test_an_existing_sidecar_is_not_overwritten_by_default(make_loco_class, tmp_path):
    (tmp_path / "plate2.jsonl").write_text("")
    with pytest.raises(DatasetError, match=r"plate2\.jsonl: exists"):
        export(loco_tools.load(make_loco_class()), "ad", tmp_path / "plate2")


def test_the_target_cannot_be_the_class_itself(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    for out in (dataset.path, dataset.path / "train", dataset.path.parent):
        with pytest.raises(DatasetError, match="expected a folder outside the class"):
            export(dataset, "ad", out, overwrite=True)


def test_a_damaged_image_leaves_the_existing_folder_unchanged(make_loco_class, tmp_path):
    dataset = loco_tools.load(make_loco_class())
    out = tmp_path / "ad" / "plate"
    export(dataset, "ad", out)
    before = sorted(out.rglob("*"))
    path = dataset.test[-1].image_path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"001\.png: damaged"):
        export(dataset, "ad", out, overwrite=True)
    assert sorted(out.rglob("*")) == before


def test_an_unknown_target_is_refused(make_loco_class, tmp_path):
    with pytest.raises(DatasetError, match='unknown target "locco"; did you mean "loco"'):
        export(loco_tools.load(make_loco_class()), "locco", tmp_path / "out")


def test_more_defect_types_than_mask_values_are_refused(make_ad_class, tmp_path):
    folder = make_ad_class(defects={})
    mask = np.zeros((4, 4), np.uint8)
    mask[0] = 255
    for number in range(256):
        pixels = np.full((4, 4), number, np.uint8)
        write_png(folder / "test" / f"d{number}" / "000.png", pixels)
        write_png(folder / "ground_truth" / f"d{number}" / "000_mask.png", mask)
    with pytest.raises(DatasetError, match=r"expected at most 255 defect types.*got 256"):
        export(loco_tools.load(folder), "loco", tmp_path / "out" / "bottle")
