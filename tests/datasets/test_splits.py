import json

import pytest

import loco_tools
from loco_tools.datasets.splits import hold_out_validation
from loco_tools.errors import DatasetError


def test_a_share_of_the_training_images_is_held_out(make_ad_class):
    whole = loco_tools.load(make_ad_class(train=20))
    held = hold_out_validation(whole, share=0.1)
    assert (len(held.train), len(held.validation)) == (18, 2)
    assert {s.image_path for s in held} == {s.image_path for s in whole}
    assert {s.split for s in held.validation} == {"validation"}


def test_the_same_seed_holds_out_the_same_images_and_another_seed_others(make_ad_class):
    whole = loco_tools.load(make_ad_class(train=20))
    first, again, other = (hold_out_validation(whole, 0.25, seed) for seed in (0, 0, 1))
    assert first.validation == again.validation
    assert first.validation != other.validation


def test_at_least_one_image_is_held_out_and_one_stays(make_ad_class):
    whole = loco_tools.load(make_ad_class(train=2))
    for share in (0.01, 0.99):
        held = hold_out_validation(whole, share)
        assert (len(held.train), len(held.validation)) == (1, 1)


def test_all_views_of_a_part_go_together(make_ad_class):
    folder = make_ad_class(train=12)
    lines = [
        json.dumps({"image": f"train/good/{n:03d}.png", "part": f"p{n // 3}", "view": f"v{n % 3}"})
        for n in range(12)
    ]
    folder.with_name("bottle.jsonl").write_text("\n".join(lines))
    held = hold_out_validation(loco_tools.load(folder), share=0.5)
    assert not {s.part for s in held.train} & {s.part for s in held.validation}
    assert len(held.validation) == 6


def test_a_class_with_validation_images_is_unchanged(make_loco_class):
    whole = loco_tools.load(make_loco_class())
    assert hold_out_validation(whole) is whole


def test_too_few_training_images_are_refused(make_ad_class):
    whole = loco_tools.load(make_ad_class(train=1))
    with pytest.raises(DatasetError, match=r"expected at least 2 training images .* got 1"):
        hold_out_validation(whole)


def test_a_share_must_lie_between_0_and_1(make_ad_class):
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        hold_out_validation(loco_tools.load(make_ad_class()), share=1.5)
