"""Thumbnails of anomaly maps, kept with a cell so that a report needs no maps and no detector."""

import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools import files
from loco_tools.datasets.images import Pixels
from loco_tools.datasets.sample import Sample
from loco_tools.errors import BenchmarkError

SIDE_PX = 288
"""Longer side of a thumbnail."""

LOW_PERCENTILE, HIGH_PERCENTILE = 50.0, 99.9
"""Percentiles over all pixels of all thumbnails of a cell, stored as 0 and as 255."""

_SCALE = "scale"
_LARGEST = 2 * SIDE_PX * SIDE_PX  # bytes, with room for the header of an array


def thumbnail_size(size: tuple[int, int], side_px: int = SIDE_PX) -> tuple[int, int]:
    """(h, w) of an image's thumbnail; never larger than the image.

    >>> thumbnail_size((1000, 2000), 200)
    (100, 200)
    """
    scale = min(1.0, side_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def write_maps(
    path: Path, samples: Sequence[Sample], read: Callable[[Sample], npt.NDArray[np.float32]]
) -> None:
    """Write one (h, w) uint8 thumbnail per sample: 0 at the low percentile, 255 at the high one.

    All maps of a cell share one scale, which is stored in the same file and is for display only.
    """
    small = [shrink(read(sample)) for sample in samples]
    pooled = np.concatenate([thumbnail.ravel() for thumbnail in small])
    low, high = np.percentile(pooled, [LOW_PERCENTILE, HIGH_PERCENTILE])
    span = max(float(high - low), np.finfo(np.float32).tiny)
    arrays = {
        f"map{index}": np.clip(255 * (thumbnail - low) / span, 0, 255).round().astype(np.uint8)
        for index, thumbnail in enumerate(small)
    }
    arrays[_SCALE] = np.array([low, low + span], dtype=np.float64)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    files.write_bytes(path, packed.getvalue())


def read_maps(path: Path, indices: Sequence[int]) -> dict[int, Pixels]:
    """Read some of the thumbnails, by their index in the test set.

    Raises:
        BenchmarkError: the file is missing or damaged.
    """
    with _opened(path) as archive:
        maps = {index: archive[f"map{index}"] for index in indices}
        for stored in maps.values():
            if stored.dtype != np.uint8 or stored.ndim != 2 or not stored.size:
                raise ValueError(f"{stored.dtype} of shape {stored.shape}")
    return maps


def read_scale(path: Path) -> tuple[float, float] | None:
    """Read the anomaly scores that 0 and 255 stand for; None where a cell did not store them.

    Raises:
        BenchmarkError: the file is missing or damaged.
    """
    with _opened(path) as archive:
        if _SCALE not in archive:
            return None
        low, high = (float(end) for end in archive[_SCALE])
        return low, high


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An archive of arrays, none of which is larger than a thumbnail.

    Raises:
        BenchmarkError: the file is missing or damaged, or what is done with it fails.
    """
    try:
        with files.open_regular(path) as stream:
            with zipfile.ZipFile(stream) as archive:
                if max((entry.file_size for entry in archive.infolist()), default=0) > _LARGEST:
                    raise ValueError("an array that is larger than a thumbnail")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                yield arrays
    # A hostile archive can make NumPy raise any exception; each means that it is damaged.
    except Exception as error:
        raise _damaged(path, error) from error


def shrink(array: npt.NDArray[np.generic], side_px: int = SIDE_PX) -> npt.NDArray[np.float32]:
    """(H, W) or (H, W, 3) averaged down to thumbnail size, float32."""
    height, width = thumbnail_size((array.shape[0], array.shape[1]), side_px)
    pixels = array.astype(np.float32, copy=False)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _damaged(path: Path, error: Exception) -> BenchmarkError:
    return BenchmarkError(
        f"{path}: expected the thumbnails of a finished cell, got {error!r}; "
        "next step: remove the cell's folder and run the benchmark again"
    )
