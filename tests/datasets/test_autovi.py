import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import loco_tools
from loco_tools.datasets.images import write_png
from loco_tools.errors import DatasetError

CONFIG = [
    {
        "defect_name": name,
        "pixel_value": value,
        "saturation_threshold": threshold,
        "relative_saturation": relative,
    }
    for name, value, threshold, relative in (
        ("fastening", 255, 1.0, True),
        ("blue_hoop", 254, 10, False),
    )
]


@pytest.fixture
def make_autovi_class(tmp_path: Path) -> Callable[..., Path]:
    """A class in AutoVI's layout; `modes` are the channels of the masks (1, 3 or 4)."""

    def make(channels: int = 4) -> Path:
        folder = tmp_path / "data" / "engine_wiring"
        image = np.full((32, 48, 3), 90, np.uint8)
        for place, count in (("train/good", 3), ("test/good", 2)):
            for number in range(count):
                write_png(folder / place / f"{number:04d}.png", image)
        for kind, values in (("fastening", [255]), ("multiple", [255, 254])):
            write_png(folder / "test" / kind / "0007.png", image)
            for index, value in enumerate(values):
                mask = np.zeros((32, 48, channels), np.uint8)
                mask[4:9, 2 + 12 * index : 10 + 12 * index, :3] = value
                if channels == 4:
                    mask[..., 3] = 255
                path = folder / "ground_truth" / kind / "0007" / f"{index:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), mask[..., 0] if channels == 1 else mask)
        (folder / "defects_config.json").write_text(json.dumps(CONFIG))
        return folder

    return make


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_class_is_read_with_masks_of_any_number_of_channels(make_autovi_class, channels):
    dataset = loco_tools.load(make_autovi_class(channels))
    assert dataset.describe() == (
        "engine_wiring (autovi): train 3, validation 0, test 2 good, 1 fastening, 1 multiple; "
        "3 masks"
    )
    multiple = dataset.test[3]
    assert (multiple.id, multiple.kind, multiple.kind_folder) == ("0007", "structural", "multiple")
    assert [d.name for d in multiple.defects] == ["fastening", "blue_hoop"]
    assert [d.saturation_px for d in multiple.defects] == [40, 10]
    assert set(np.unique(multiple.defects[1].values())) == {0, 254}


def test_masks_without_images_are_refused(make_autovi_class):
    folder = make_autovi_class()
    shutil.rmtree(folder / "test" / "fastening")
    with pytest.raises(DatasetError, match=r"ground_truth/fastening: expected images .*no such"):
        loco_tools.load(folder)


def test_a_missing_config_is_named(make_autovi_class):
    folder = make_autovi_class()
    (folder / "defects_config.json").unlink()
    with pytest.raises(DatasetError, match=r"defects_config\.json: no such file"):
        loco_tools.load(folder)


def test_a_mask_with_two_values_is_refused(make_autovi_class):
    folder = make_autovi_class(1)
    path = folder / "ground_truth/fastening/0007/0000.png"
    write_png(path, np.arange(32 * 48).reshape(32, 48).astype(np.uint8) % 3)
    with pytest.raises(DatasetError, match=r"expected one positive value, got 1, 2;"):
        loco_tools.load(folder)


def test_mvtec_ad_with_short_mask_names_and_a_validation_folder_is_still_mvtec_ad(make_ad_class):
    dataset = loco_tools.load(make_ad_class(mask_name="{stem}.png", validation=2))
    assert (dataset.layout, len(dataset.validation)) == ("mvtec_ad", 2)
