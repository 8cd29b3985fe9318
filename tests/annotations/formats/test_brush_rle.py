import json
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loco_tools.annotations.formats.brush_rle import decode, encode
from loco_tools.datasets.images import read_mask
from loco_tools.errors import AnnotationError

ALPHA = arrays.arrays(
    np.uint8,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.one_of(st.sampled_from([0, 255]), st.integers(0, 255)),
    fill=st.sampled_from([0, 255]),
)


def bit_by_bit(code: list[int], height: int, width: int) -> npt.NDArray[np.uint8]:
    """The slow, obvious twin of `decode`."""
    bits = "".join(f"{byte:08b}" for byte in code)
    position = 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        is_run, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if is_run else [read(word) for _ in range(length)]
    return np.array(values, dtype=np.uint8).reshape(height, width, 4)[:, :, 3]


def pack(values: list[int], runs: list[tuple[bool, int]]) -> list[int]:
    """Code `values` (RGBA and so on) in the given runs: (one word for all, length)."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    place = 0
    for is_run, length in runs:
        choice = next(i for i, size in enumerate((3, 4, 8, 16)) if length <= 1 << size)
        bits += f"{int(is_run)}{choice:02b}{length - 1:0{(3, 4, 8, 16)[choice]}b}"
        words = values[place : place + (1 if is_run else length)]
        bits += "".join(f"{value:08b}" for value in words)
        place += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@settings(deadline=None, max_examples=150)
@given(ALPHA)
def test_what_is_encoded_decodes_to_the_same_plane(alpha: npt.NDArray[np.uint8]) -> None:
    code = encode(alpha)
    assert np.array_equal(decode(code, *alpha.shape), alpha)
    assert np.array_equal(bit_by_bit(code, *alpha.shape), alpha)


def test_a_run_longer_than_the_longest_field_is_split() -> None:
    alpha = np.full((200, 300), 255, dtype=np.uint8)
    alpha[199, 299] = 7
    assert np.array_equal(decode(encode(alpha), 200, 300), alpha)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_literal_stretches_that_begin_within_a_pixel_keep_alpha_in_step(
    data: st.DataObject,
) -> None:
    width = data.draw(st.integers(1, 30))
    values = data.draw(st.lists(st.integers(0, 255), min_size=4 * width, max_size=4 * width))
    left, runs, place = 4 * width, [], 0
    while left:
        length = data.draw(st.integers(1, left))
        is_run = data.draw(st.booleans())
        if is_run:
            values[place : place + length] = [values[place]] * length
        runs.append((is_run, length))
        left, place = left - length, place + length
    code = pack(values, runs)
    expected = np.array(values, dtype=np.uint8).reshape(1, width, 4)[:, :, 3]
    assert np.array_equal(decode(code, 1, width), expected)
    assert np.array_equal(bit_by_bit(code, 1, width), expected)


def test_bytes_are_taken_as_well_as_a_list() -> None:
    alpha = np.eye(5, dtype=np.uint8) * 255
    assert np.array_equal(decode(bytes(encode(alpha)), 5, 5), alpha)


def test_a_code_for_another_size_is_refused_before_anything_is_allocated() -> None:
    code = [*(4 * 10**9).to_bytes(4, "big"), 57, 27, 255, 6]
    with pytest.raises(AnnotationError, match=r"expected 48 values .* 3 x 4 .* claims 4000000000"):
        decode(code, 4, 3)


def test_an_image_that_is_too_large_is_refused() -> None:
    with pytest.raises(AnnotationError, match="expected an image of 1 to"):
        decode([0] * 20, 40_000, 40_000)


def test_every_truncation_is_an_error() -> None:
    code = encode(np.random.default_rng(0).integers(0, 255, (6, 7), dtype=np.uint8))
    for length in range(len(code) - 1):
        with pytest.raises(AnnotationError, match="breaks off"):
            decode(code[:length], 6, 7)


def test_a_run_beyond_the_last_value_is_an_error() -> None:
    code = pack([255] * 8, [(True, 8)])
    shorter = [*(4).to_bytes(4, "big"), *code[4:]]
    with pytest.raises(AnnotationError, match="a run of 8 values after 0 goes beyond the 4"):
        decode(shorter, 1, 1)


@pytest.mark.parametrize("code", [[300], [-1], ["1"], [1.5], [None]])
def test_what_is_no_byte_is_an_error(code: list[int]) -> None:
    with pytest.raises(AnnotationError, match="whole numbers from 0 to 255"):
        decode(code, 1, 1)


def test_words_of_another_size_are_refused() -> None:
    code = encode(np.zeros((1, 1), dtype=np.uint8))
    code[4] = 0b00000_001
    with pytest.raises(AnnotationError, match="words of 8 bits, got 1"):
        decode(code, 1, 1)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 255), max_size=60))
def test_random_bytes_decode_or_are_refused(tail: list[int]) -> None:
    try:
        decode([0, 0, 0, 96, 57, 27, 255, *tail], 4, 6)
    except AnnotationError:
        return


@pytest.mark.parametrize(
    ("project", "region", "expected"),
    [
        ("magic_wand", "PNCeI7jyxe", "image_magic_wand_0_PNCeI7jyxe"),
        ("magic_wand", "zhJYp7Ak94", "image_magic_wand_1_zhJYp7Ak94"),
        ("mixed_shapes", "wZ0I2XlKw1", "image_tools_0_wZ0I2XlKw1"),
    ],
)
def test_real_brushes_decode_as_label_studio_decodes_them(
    real_projects: Path, project: str, region: str, expected: str
) -> None:
    task = json.loads((real_projects / project / "annotations" / "1.json").read_bytes())
    items = task["annotations"][0]["result"]
    item = next(item for item in items if item.get("id") == region)
    size = item["original_height"], item["original_width"]
    begun = time.perf_counter()
    alpha = decode(item["value"]["rle"], *size)
    assert time.perf_counter() - begun < 0.5
    truth = read_mask(real_projects / "expected_masks" / f"{expected}.png")
    assert np.array_equal(alpha, truth)
    assert np.array_equal(alpha >= 128, truth >= 128)
    assert np.array_equal(decode(encode(alpha), *size), alpha)
