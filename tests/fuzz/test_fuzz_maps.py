"""Anomaly maps that are damaged or lie about themselves."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from fuzzing import damaged, fuzz, within_bounds
from hypothesis import strategies as st

from loco_tools.datasets.images import write_png
from loco_tools.datasets.maps import read_map

MAP = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)


def tiff(stored: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, stored, metadata=None, **options)
    return stream.getvalue()


def tiff_of_opencv(stored: np.ndarray, compression: int) -> bytes:
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression]
    return cv2.imencode(".tiff", stored, options)[1].tobytes()


def npy(stored: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, stored)
    return stream.getvalue()


TIFFS = [
    tiff(MAP),
    tiff(MAP.astype(np.float16)),
    tiff(MAP.astype(np.float64), bigtiff=True),
    tiff(MAP.astype(">f4"), byteorder=">"),
    tiff(MAP, compression="zlib", rowsperstrip=6),
    tiff(MAP > 0),
    tiff(np.zeros((32, 32), np.float32), tile=(16, 16)),
    *(tiff_of_opencv(MAP, compression) for compression in (1, 5, 8)),
    *(tiff_of_opencv((MAP * 50).astype(np.uint8), compression) for compression in (5, 32773)),
]
ARRAYS = [npy(MAP), npy(MAP.astype(np.float64)), npy((MAP * 9).astype(np.int32).T), npy(MAP > 0)]
CONTENTS = st.one_of(
    st.tuples(st.just("map.tiff"), damaged(TIFFS)), st.tuples(st.just("map.npy"), damaged(ARRAYS))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    write_png(folder / "image.png", np.zeros(MAP.shape, np.uint8))
    return folder


@fuzz(named=CONTENTS, has_image=st.booleans())
def test_a_damaged_map_is_read_or_refused(
    folder: Path, named: tuple[str, bytes], has_image: bool
) -> None:
    path = folder / named[0]
    path.write_bytes(named[1])
    with within_bounds():
        scores = read_map(path, like=folder / "image.png" if has_image else None)
        assert scores.ndim == 2
        assert np.isfinite(scores).all()
        assert scores.shape == MAP.shape or not has_image
