import copy
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import loco_tools
from loco_tools.datasets.images import write_png
from loco_tools.datasets.mvtec_loco import read_config
from loco_tools.errors import DatasetError


def entry(**changes):
    plain = {
        "defect_name": "scratch",
        "pixel_value": 255,
        "saturation_threshold": 1.0,
        "relative_saturation": True,
    }
    return {**plain, **changes}


def config_fault(tmp_path: Path, content: object) -> str:
    path = tmp_path / "defects_config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DatasetError) as caught:
        read_config(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_a_class_is_read_with_every_split_kind_and_defect(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    assert dataset.layout == "mvtec_loco"
    assert dataset.describe() == (
        "plate (mvtec_loco): train 4, validation 2, test 3 good, 2 logical_anomalies, "
        "2 structural_anomalies; 5 masks"
    )
    both = dataset.test[4]
    assert (both.id, both.kind, both.kind_folder) == ("001", "logical", "logical_anomalies")
    assert [(d.name, d.kind, d.pixel_value) for d in both.defects] == [
        ("missing_hole", "logical", 255),
        ("extra_hole", "logical", 254),
    ]


def test_masks_are_never_binarised_by_255(make_loco_class):
    scratch = loco_tools.load(make_loco_class()).test[5].defects[0]
    assert set(np.unique(scratch.values())) == {0, 100}
    assert np.count_nonzero(scratch.mask) == 40


def test_saturation_is_absolute_or_a_share_of_the_area(make_loco_class):
    test = loco_tools.load(make_loco_class()).test
    assert [d.saturation_px for d in test[4].defects] == [20, 20]  # 20 px; half of 40 px
    assert test[5].defects[0].saturation_px == 40


def test_a_threshold_above_the_area_is_capped_by_the_area(make_loco_class):
    config = [entry(saturation_threshold=5000, relative_saturation=False, pixel_value=100)]
    folder = make_loco_class(logical=(), structural=((100,),), config=config)
    assert loco_tools.load(folder).test[-1].defects[0].saturation_px == 40


def test_one_image_may_have_two_masks_of_the_same_value(make_loco_class):
    sample = loco_tools.load(make_loco_class(logical=((255, 255),))).test[3]
    assert [d.name for d in sample.defects] == ["missing_hole", "missing_hole"]
    assert np.count_nonzero(sample.ground_truth()) == 80


def test_part_and_view_are_read_from_the_sidecar(make_loco_class):
    folder = make_loco_class()
    line = {"image": "test/good/001.png", "part": "p0007", "view": "top", "sha256": "ab"}
    folder.with_name("plate.jsonl").write_text(json.dumps(line) + "\n\n")
    test = loco_tools.load(folder).test
    assert (test[0].part, test[0].view) == (None, None)
    assert (test[1].part, test[1].view) == ("p0007", "top")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected a JSON object"),
        ('{"part": "p1"}', 'with a string "image"'),
        ('{"image": "a.png", "part": 7}', 'expected "part" to be a string or null, got 7'),
    ],
)
def test_a_wrong_line_of_the_sidecar_is_named(make_loco_class, line, message):
    folder = make_loco_class()
    folder.with_name("plate.jsonl").write_text('{"image": "test/good/000.png"}\n' + line)
    with pytest.raises(DatasetError, match=r"plate\.jsonl, line 2: ") as caught:
        loco_tools.load(folder)
    assert message in str(caught.value)


def test_a_mask_with_two_positive_values_is_refused(make_loco_class):
    folder = make_loco_class()
    path = folder / "ground_truth/logical_anomalies/000/000.png"
    mask = np.zeros((32, 48), np.uint8)
    mask[2:4], mask[6:8] = 255, 254
    write_png(path, mask)
    with pytest.raises(DatasetError, match="expected one positive value, got 254, 255") as caught:
        loco_tools.load(folder)
    assert str(path) in str(caught.value)


def test_a_value_that_is_not_in_the_config_is_refused(make_loco_class):
    folder = make_loco_class(structural=((99,),))
    with pytest.raises(DatasetError, match="got 99; next step: ") as caught:
        loco_tools.load(folder)
    assert "structural_anomalies/000/000.png: expected a value of" in str(caught.value)
    assert "254 extra_hole" in str(caught.value)


def test_an_empty_mask_is_refused(make_loco_class):
    folder = make_loco_class()
    write_png(folder / "ground_truth/logical_anomalies/001/001.png", np.zeros((32, 48), np.uint8))
    with pytest.raises(DatasetError, match=r"001/001\.png: expected at least one positive pixel"):
        loco_tools.load(folder)


def test_a_mask_of_another_size_than_its_image_is_refused(make_loco_class):
    folder = make_loco_class()
    write_png(folder / "ground_truth/logical_anomalies/001/001.png", np.ones((48, 32), np.uint8))
    with pytest.raises(
        DatasetError, match=r"expected 48 x 32 px \(width x height\) like .*, got 32 x 48"
    ):
        loco_tools.load(folder)


def test_a_mask_with_colours_is_refused(make_loco_class):
    folder = make_loco_class()
    path = folder / "ground_truth/logical_anomalies/001/001.png"
    cv2.imwrite(str(path), np.full((32, 48, 3), (1, 2, 3), np.uint8))
    with pytest.raises(DatasetError, match="expected an 8-bit grayscale mask, got 8-bit RGB"):
        loco_tools.load(folder)


def test_a_damaged_mask_is_refused(make_loco_class):
    folder = make_loco_class()
    path = folder / "ground_truth/logical_anomalies/001/001.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(
        DatasetError, match=r"001/001\.png: expected a whole image file, got .*truncated"
    ):
        loco_tools.load(folder)


@pytest.mark.parametrize("emptied", [True, False])
def test_an_anomalous_image_without_masks_is_refused(make_loco_class, emptied):
    folder = make_loco_class()
    masks = folder / "ground_truth/structural_anomalies/001"
    shutil.rmtree(masks)
    if emptied:
        masks.mkdir()
    with pytest.raises(DatasetError, match=r"structural_anomalies/001\.png: expected its masks"):
        loco_tools.load(folder)


def test_masks_without_an_image_are_refused(make_loco_class):
    folder = make_loco_class()
    (folder / "test/structural_anomalies/001.png").unlink()
    with pytest.raises(DatasetError, match="structural_anomalies/001: expected the image"):
        loco_tools.load(folder)


def test_an_unknown_kind_of_anomaly_is_refused(make_loco_class):
    folder = make_loco_class()
    (folder / "test/logical").mkdir()
    with pytest.raises(DatasetError, match="test/logical: expected only the folders good, "):
        loco_tools.load(folder)


def test_a_missing_config_is_named(make_loco_class):
    folder = make_loco_class()
    (folder / "defects_config.json").unlink()
    with pytest.raises(DatasetError, match=r"defects_config\.json: no such file"):
        loco_tools.load(folder)


def test_a_class_without_anomalies_needs_no_config(make_loco_class):
    folder = make_loco_class(logical=(), structural=())
    (folder / "defects_config.json").unlink()
    assert len(loco_tools.load(folder).test) == 3


def test_whole_numbers_are_read_as_integers_and_as_floats(tmp_path):
    path = tmp_path / "defects_config.json"
    entries = [
        entry(saturation_threshold=1),
        entry(pixel_value=254, saturation_threshold=120.0, relative_saturation=False),
    ]
    path.write_text(json.dumps(entries))
    thresholds = [defect.threshold for defect in read_config(path).values()]
    assert [(t.value, t.relative) for t in thresholds] == [(1.0, True), (120.0, False)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "expected a JSON list of defects, got: "),
        ({"defects": []}, "expected a JSON list of defects, got a dict"),
        ([], "entries: "),
        ([entry(saturation_threshold=1.4)], "relative saturation_threshold in (0, 1], got 1.4"),
        ([entry(saturation_threshold=0)], "relative saturation_threshold in (0, 1], got 0"),
        (
            [entry(saturation_threshold=10.5, relative_saturation=False)],
            "1 or more whole pixels, got 10.5",
        ),
        ([entry(pixel_value=0)], "greater than or equal to 1, got 0"),
        ([entry(pixel_value=256)], "less than or equal to 255, got 256"),
        ([entry(relative_saturation=1)], "valid boolean, got 1"),
        ([entry(saturation_treshold=2)], 'did you mean "saturation_threshold"?'),
        ([{"defect_name": "a"}], "pixel_value is missing"),
        (
            [entry(), entry(defect_name="dent")],
            'got 255 for both "scratch" and "dent"',
        ),
    ],
)
def test_a_wrong_config_is_explained(tmp_path, content, message):
    assert message in config_fault(tmp_path, copy.deepcopy(content))
