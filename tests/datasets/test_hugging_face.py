import json

import cv2
import numpy as np
import pytest

import loco_tools
from loco_tools.datasets.export import export
from loco_tools.errors import DatasetError

datasets = pytest.importorskip("datasets")
huggingface_hub = pytest.importorskip("huggingface_hub")


def check_same(row, sample):
    """A row holds what the sample holds, pixel for pixel."""
    assert np.array_equal(np.asarray(row["image"]), sample.image())
    assert (row["part"], row["view"], row["id"]) == (sample.part, sample.view, sample.id)
    assert ("good", "structural", "logical")[row["kind"]] == sample.kind
    assert len(row["defects"]) == len(sample.defects)
    for cell, defect in zip(row["defects"], sample.defects, strict=True):
        assert np.array_equal(np.asarray(cell["mask"]), defect.values())
        assert cell["name"] == defect.name
        assert cell["pixel_value"] == defect.pixel_value
        assert cell["saturation_px"] == defect.saturation_px


def opened(folder, tmp_path):
    datasets.config.HF_HUB_OFFLINE = True
    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def test_a_class_becomes_a_dataset_dict(make_loco_class):
    folder = make_loco_class()
    line = {"image": "test/good/001.png", "part": "p0007", "view": "top"}
    folder.with_name("plate.jsonl").write_text(json.dumps(line))
    dataset = loco_tools.load(folder)
    seen = dataset.to_hf()
    assert {name: len(rows) for name, rows in seen.items()} == {
        "train": 4,
        "validation": 2,
        "test": 7,
    }
    for row, sample in zip(seen["test"], dataset.test, strict=True):
        check_same(row, sample)
    assert seen["test"][1]["part"] == "p0007"


def test_the_parquet_folder_opens_with_the_same_pixels(make_loco_class, tmp_path):
    dataset = loco_tools.load(make_loco_class())
    report = export(dataset, "hf", tmp_path / "hub")
    assert report.images == {"train": 4, "validation": 2, "test": 7}
    (tmp_path / "data").rename(tmp_path / "moved")  # nothing may point to the files
    read = opened(tmp_path / "hub", tmp_path)
    dataset = loco_tools.load(tmp_path / "moved" / "plate")
    for split in ("train", "validation", "test"):
        for row, sample in zip(read[split], dataset.split(split), strict=True):
            check_same(row, sample)
    assert read["test"].features["kind"].names == ["good", "structural", "logical"]


def test_mvtec_ad_has_neither_values_nor_an_empty_split(make_ad_class, tmp_path):
    dataset = loco_tools.load(make_ad_class(gray=True))
    export(dataset, "hf", tmp_path / "hub")
    read = opened(tmp_path / "hub", tmp_path)
    assert set(read) == {"train", "test"}
    for row, sample in zip(read["test"], dataset.test, strict=True):
        check_same(row, sample)
    assert read["test"][-1]["defects"][0]["pixel_value"] is None


def test_a_damaged_image_is_not_written_to_a_parquet_file(make_loco_class, tmp_path):
    dataset = loco_tools.load(make_loco_class())
    path = dataset.train[2].image_path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"002\.png: damaged"):
        export(dataset, "hf", tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_masks_in_colour_become_masks_of_one_channel(make_loco_class, tmp_path):
    folder = make_loco_class(structural=((100,),))
    (folder / "test/structural_anomalies").rename(folder / "test/scratch")
    (folder / "test/logical_anomalies").rename(folder / "test/multiple")
    (folder / "ground_truth/structural_anomalies").rename(folder / "ground_truth/scratch")
    (folder / "ground_truth/logical_anomalies").rename(folder / "ground_truth/multiple")
    path = folder / "ground_truth/scratch/000/000.png"
    cv2.imwrite(str(path), cv2.imread(str(path)))
    dataset = loco_tools.load(folder)
    assert dataset.layout == "autovi"
    for row, sample in zip(dataset.to_hf()["test"], dataset.test, strict=True):
        check_same(row, sample)


def test_large_splits_become_several_files(make_loco_class, tmp_path):
    from loco_tools.datasets.hugging_face import write_folder

    dataset = loco_tools.load(make_loco_class())
    hub = tmp_path / "hub"
    hub.mkdir()
    write_folder(dataset, hub, "# x\n", shard_images=3)
    assert [path.name for path in sorted((hub / "data").glob("test*"))] == [
        f"test-{n:05d}-of-00003.parquet" for n in range(3)
    ]
    assert len(opened(hub, tmp_path)["test"]) == 7


def test_the_folder_has_the_card_with_its_front_matter(make_loco_class, tmp_path):
    card = "---\nlicense: cc-by-4.0\ntags:\n- mine\n---\n# Plate\n\nBy hand.\n"
    export(loco_tools.load(make_loco_class()), "hf", tmp_path / "hub", card=card)
    read = huggingface_hub.DatasetCard.load(tmp_path / "hub" / "README.md")
    assert read.data.license == "cc-by-4.0"
    assert read.data.tags == ["mine"]
    files = read.data.configs[0]["data_files"]
    assert {"split": "test", "path": "data/test-*.parquet"} in files
    sizes = {s["name"]: s["num_examples"] for s in read.data.dataset_info["splits"]}
    assert sizes == {"train": 4, "validation": 2, "test": 7}
    assert "By hand." in read.text
