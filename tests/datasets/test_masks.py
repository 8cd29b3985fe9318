import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco_tools.datasets.masks import PackedMask


@given(st.integers(1, 9), st.integers(1, 20), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_packed_mask_unpacks_to_itself(height, width, seed, share):
    pixels = np.random.default_rng(seed).random((height, width)) < share
    packed = PackedMask.pack(pixels.astype(np.uint8) * 7)
    np.testing.assert_array_equal(packed.unpack(), pixels)
    assert packed.area_px == pixels.sum()


def test_a_small_defect_in_a_large_mask_takes_little_memory():
    mask = np.zeros((1000, 1700), np.uint8)
    mask[500:600, 900:1000] = 250
    assert len(PackedMask.pack(mask).bits) == pytest.approx(1250)
