"""Damage of JPEG files is found, and no sound file of any encoder's kind is called damaged."""

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loco_tools.datasets.jpeg import jpeg_fault, read_frame

RNG = np.random.default_rng(0)
PART = np.full((210, 333, 3), 120, np.uint8)
cv2.circle(PART, (150, 100), 70, (20, 80, 200), -1)
PHOTOGRAPH = np.clip(PART + RNG.normal(0, 4, PART.shape), 0, 255).astype(np.uint8)

ENCODINGS: dict[str, dict[str, object]] = {
    "plain": {},
    "full colour": {"subsampling": "4:4:4"},
    "half colour": {"subsampling": "4:2:2"},
    "own tables": {"optimize": True},
    "restarts by blocks": {"restart_marker_blocks": 5},
    "restarts by rows": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "with a profile": {"icc_profile": b"x" * 3000, "comment": b"\xff\xd9\xff\xda"},
}


def jpeg(pixels: np.ndarray, quality: int = 90, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, **options)
    return stream.getvalue()


@pytest.mark.parametrize("quality", [10, 90, 100])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("pixels", [PHOTOGRAPH, PHOTOGRAPH[..., 0], PART, PART * 0, PART[:1, :1]])
def test_a_sound_file_has_no_fault(pixels: np.ndarray, encoding: str, quality: int) -> None:
    assert jpeg_fault(jpeg(pixels, quality, **ENCODINGS[encoding])) is None


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 99),
    encoding=st.sampled_from(sorted(ENCODINGS)),
)
def test_no_size_of_a_sound_file_has_a_fault(
    height: int, width: int, seed: int, encoding: str
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    content = jpeg(pixels, **ENCODINGS[encoding])
    assert jpeg_fault(content) is None
    assert read_frame(io.BytesIO(content)).size == (height, width)


def test_bytes_after_the_end_and_a_few_before_it_are_no_damage() -> None:
    content = jpeg(PHOTOGRAPH)
    assert jpeg_fault(content + b"appended by a phone") is None
    assert jpeg_fault(content[:-2] + bytes(2) + content[-2:]) is None
    assert jpeg_fault(content[:-2] + b"\xff\xff" + content[-2:]) is None


def blanked(content: bytearray, at: int) -> None:
    content[at : at + 512] = bytes(512)


def shortened(content: bytearray, at: int) -> None:
    del content[at : at + 512]


def doubled(content: bytearray, at: int) -> None:
    content[at:at] = content[at - 300 : at]


def overwritten(content: bytearray, at: int) -> None:
    content[at : at + 512] = np.random.default_rng(at).bytes(512)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS.keys() - {"progressive"}))
@pytest.mark.parametrize("damage", [blanked, shortened, doubled, overwritten])
def test_damage_in_the_middle_is_found(
    encoding: str, damage: Callable[[bytearray, int], None]
) -> None:
    """A lost, doubled, blanked or foreign block of a disk or a transmission."""
    sound = jpeg(PHOTOGRAPH, **ENCODINGS[encoding])
    start = sound.rindex(b"\xff\xda") + 400
    found = 0
    for at in np.random.default_rng(1).integers(start, len(sound) - 600, 40):
        content = bytearray(sound)
        damage(content, int(at))
        found += jpeg_fault(bytes(content)) is not None
    assert found >= 36


def test_a_foreign_block_in_a_progressive_file_is_found() -> None:
    sound = jpeg(PHOTOGRAPH, progressive=True)
    content = bytearray(sound)
    overwritten(content, len(sound) // 2)
    assert jpeg_fault(bytes(content)) is not None


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_every_truncated_file_is_found(encoding: str) -> None:
    sound = jpeg(PHOTOGRAPH, **ENCODINGS[encoding])
    for end in range(3, len(sound) - 2, 97):
        assert jpeg_fault(sound[:end]) is not None


def test_an_unending_number_of_scans_is_refused() -> None:
    content = jpeg(PHOTOGRAPH, progressive=True)
    scan = content[content.index(b"\xff\xda") : -2]
    assert jpeg_fault(content[:-2] + scan * 200 + content[-2:]) == "more than 100 scans"
