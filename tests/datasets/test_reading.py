import threading
import time

import numpy as np
import pytest

import loco_tools
from loco_tools.datasets.reading import Images, in_order, read_ahead
from loco_tools.errors import DatasetError


def test_samples_come_in_order_with_the_pixels_of_their_files(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    read = list(read_ahead(dataset.test, threads=3))
    assert [r.sample for r in read] == list(dataset.test)
    for sample, image, masks in read:
        assert np.array_equal(image, sample.image())
        assert len(masks) == len(sample.defects)
        for mask, defect in zip(masks, sample.defects, strict=True):
            assert set(np.unique(mask)) == {0, defect.pixel_value}
            assert np.array_equal(mask > 0, defect.mask)


def test_masks_are_not_read_on_request(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    assert all(r.masks == () for r in read_ahead(dataset.test, with_masks=False))


def test_iterating_over_images_and_indexing_give_the_same_pixels(make_loco_class):
    images = Images(loco_tools.load(make_loco_class()).train)
    walked = list(images)
    assert len(walked) == len(images)
    assert all(np.array_equal(walked[i], images[i]) for i in range(len(images)))


def test_a_damaged_image_raises_when_it_is_reached(make_loco_class):
    dataset = loco_tools.load(make_loco_class(train=6))
    path = dataset.train[3].image_path
    path.write_bytes(path.read_bytes()[:-20])
    reader = read_ahead(dataset.train, threads=2)
    assert [next(reader).sample.id for _ in range(3)] == ["000", "001", "002"]
    with pytest.raises(DatasetError, match=r"003\.png: damaged"):
        next(reader)


def test_only_the_look_ahead_is_decoded_while_the_consumer_waits():
    begun = []
    walk = in_order(lambda item: begun.append(item) or item, iter(range(1000)), threads=2)
    assert next(walk) == 0
    time.sleep(0.05)
    assert len(begun) <= 5


def test_leaving_the_loop_early_stops_the_threads():
    walk = in_order(lambda item: item, range(1000), threads=2)
    next(walk)
    walk.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]


def test_no_samples_give_no_results():
    assert list(in_order(lambda item: item, [])) == []
