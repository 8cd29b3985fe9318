import cv2
import numpy as np
import pytest

import loco_tools
from loco_tools.datasets.images import write_png
from loco_tools.errors import DatasetError, DatasetWarning


def test_a_class_is_read_with_every_defect_folder(make_ad_class):
    dataset = loco_tools.load(make_ad_class())
    assert dataset.describe() == (
        "bottle (mvtec_ad): train 6, validation 0, test 3 good, 2 crack, 1 scratch2; 3 masks"
    )
    crack = dataset.test[3]
    assert (crack.kind, crack.kind_folder, crack.id) == ("structural", "crack", "000")
    assert crack.defects[0].threshold is None
    assert crack.defects[0].saturation_px == np.count_nonzero(crack.ground_truth()) == 40


def test_masks_may_be_named_like_their_image(make_ad_class):
    dataset = loco_tools.load(make_ad_class(mask_name="{stem}.png", suffix=".jpg"))
    assert dataset.test[-1].defects[0].mask_path.name == "000.png"


def test_a_validation_folder_is_read(make_ad_class):
    dataset = loco_tools.load(make_ad_class(validation=2))
    assert [sample.split for sample in dataset.validation] == ["validation"] * 2


def test_grayscale_images_are_read_as_rgb(make_ad_class):
    image = loco_tools.load(make_ad_class(gray=True)).train[0].image()
    assert image.shape == (32, 48, 3)
    assert (image[..., 0] == image[..., 2]).all()


def test_files_are_read_in_the_order_of_their_numbers(make_ad_class):
    folder = make_ad_class(train=0)
    for name in ("10", "9", "100"):
        write_png(folder / "train/good" / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    assert [sample.id for sample in loco_tools.load(folder).train] == ["9", "10", "100"]


def test_hidden_and_other_files_are_ignored(make_ad_class):
    folder = make_ad_class()
    (folder / "train/good/.DS_Store").write_bytes(b"x")
    (folder / "train/good/._000.png").write_bytes(b"x")
    (folder / "train/good/readme.txt").write_text("x")
    with pytest.warns(DatasetWarning, match=r"stray_file: train/good/readme.txt:") as caught:
        assert len(loco_tools.load(folder).train) == 6
    assert len(caught) == 1
    assert "DS_Store" not in str(caught[0].message)


def test_images_of_one_class_may_differ_in_size(make_ad_class):
    folder = make_ad_class()
    cv2.imwrite(str(folder / "train/good/006.png"), np.zeros((9, 7, 3), np.uint8))
    assert loco_tools.load(folder).train[6].size == (9, 7)


def test_two_images_of_one_name_are_refused(make_ad_class):
    folder = make_ad_class()
    cv2.imwrite(str(folder / "test/good/000.jpg"), np.zeros((9, 7, 3), np.uint8))
    with pytest.raises(
        DatasetError, match=r"000\.\w+: expected one image of each name, got 000\.\w+ in"
    ):
        loco_tools.load(folder)


def test_an_anomalous_image_without_a_mask_is_refused(make_ad_class):
    folder = make_ad_class()
    (folder / "ground_truth/crack/001_mask.png").unlink()
    with pytest.raises(DatasetError, match=r"crack/001\.png: expected one mask in .*got none"):
        loco_tools.load(folder)


def test_an_image_with_two_masks_is_refused(make_ad_class):
    folder = make_ad_class()
    write_png(folder / "ground_truth/crack/001.png", np.ones((32, 48), np.uint8))
    with pytest.raises(DatasetError, match=r"got 001_mask\.png and 001\.png"):
        loco_tools.load(folder)


def test_a_mask_without_an_image_is_refused(make_ad_class):
    folder = make_ad_class()
    (folder / "test/crack/001.png").unlink()
    with pytest.raises(
        DatasetError, match=r"001_mask\.png: expected an image .* folder crack, got"
    ):
        loco_tools.load(folder)


def test_a_mask_folder_without_a_test_folder_is_refused(make_ad_class):
    folder = make_ad_class()
    (folder / "test/crack").rename(folder / "test/cracks")
    with pytest.raises(DatasetError, match="ground_truth/crack: expected images of these masks"):
        loco_tools.load(folder)


def test_an_empty_mask_is_refused(make_ad_class):
    folder = make_ad_class()
    write_png(folder / "ground_truth/crack/001_mask.png", np.zeros((32, 48), np.uint8))
    with pytest.raises(DatasetError, match="expected at least one positive pixel"):
        loco_tools.load(folder)
