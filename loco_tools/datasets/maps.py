"""Anomaly maps on disk, in the layout of the official evaluators.

`<maps>/<class>/test/<kind folder>/<id>.tiff`, one real-valued map per test image, at the size of
the image. Maps from other programs may also be `.tif` (in any case) or `.npy`.
"""

import io
import re
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools import files
from loco_tools.datasets import tiff
from loco_tools.datasets.image_file import (
    check_same_size,
    check_size,
    damaged,
    describe,
    opened,
)
from loco_tools.datasets.sample import Sample
from loco_tools.errors import DatasetError
from loco_tools.wording import plural

SUFFIXES = (".tiff", ".tif", ".npy")

_LONGEST_NPY_HEADER = 10_000
_NPY_FIELDS = (
    r"'descr': *'([<>|=]?[a-zA-Z][0-9]{0,3})'",
    r"'fortran_order': *(True|False)",
    r"'shape': *\(((?: *[0-9]{1,19}L? *,?)*)\)",
)
_NPY_ORDERS: Mapping[str, Literal["C", "F"]] = {"False": "C", "True": "F"}


def map_path(folder: Path, sample: Sample) -> Path:
    """The path of a test image's map in a class's map folder (which contains `test/`)."""
    return folder / "test" / sample.kind_folder / f"{sample.id}.tiff"


def validation_map_path(folder: Path, id_: str) -> Path:
    """The path of a good validation image's map; see `good_validation_maps`."""
    return folder / "validation" / "good" / f"{id_}.tiff"


def find_maps(
    folder: Path, samples: Sequence[Sample], split: Literal["test", "validation"] = "test"
) -> dict[Sample, Path]:
    """The map of every image of a split in a class's map folder (which contains `test/`).

    Raises:
        DatasetError: some images have no map or some maps no image (the message names all of
            them), or an image has two maps, for example `000.tif` and `000.tiff`.
    """
    folder = folder / split
    kind_folders = {sample.kind_folder for sample in samples}
    present = {name: _maps_in(folder / name) for name in sorted(kind_folders)}
    paths = {s: present[s.kind_folder].pop(s.id, None) for s in samples}
    missing = [f"{s.kind_folder}/{s.id}" for s, path in paths.items() if path is None]
    surplus = [f"{name}/{p.name}" for name, left in present.items() for p in left.values()]
    if folder.is_dir():
        others = (path for path in sorted(folder.iterdir()) if path.name not in kind_folders)
        surplus += [f"{path.name}/" for path in others if path.is_dir() and _maps_in(path)]
    faults = []
    if missing:
        faults.append(f"got none for {len(missing)}: {', '.join(missing)}")
    if surplus:
        faults.append(f"got {plural(len(surplus), 'map')} without an image: {', '.join(surplus)}")
    if faults:
        raise DatasetError(
            f"{folder}: expected one anomaly map (.tiff, .tif or .npy) for each of "
            f"{plural(len(samples), f'{split} image')}, also the good ones, {'; '.join(faults)}; "
            "next step: check that these are the maps of this class, and write the missing ones"
        )
    return {sample: path for sample, path in paths.items() if path is not None}


def good_validation_maps(folder: Path, samples: Sequence[Sample]) -> dict[str, Path]:
    """The maps in `<folder>/validation/good` by id, an extension of the official layout.

    If the class has good validation images, each of them needs a map. If it has none (as in MVTec
    AD, where some training images are held out), all maps are returned. Empty without the folder.

    Raises:
        DatasetError: an image has no map, or a map has no image.
    """
    if not (folder / "validation" / "good").is_dir():
        return {}
    if samples:
        maps = find_maps(folder, samples, "validation")
        return {sample.id: path for sample, path in maps.items()}
    return _maps_in(folder / "validation" / "good")


def read_map(path: Path, *, like: Path | None = None) -> npt.NDArray[np.floating[Any]]:
    """Read an anomaly map of any real type.

    Args:
        path: the file.
        like: the image that the map belongs to; their sizes are compared before decoding.

    Returns:
        (H, W) float32; float64 if the file has integers or float64 that float32 would change.

    Raises:
        DatasetError: the file is missing or damaged, is not one 2-D real-valued map, differs from
            `like` in size, claims too many pixels, or has NaN, infinity or numbers beyond the range
            of float32.
    """
    read = _read_npy if path.suffix.lower() == ".npy" else _read_tiff
    with opened(path, "anomaly map") as stream:
        try:
            stored = read(path, stream, like)
        except DatasetError:
            raise
        # A hostile file can make a decoder raise any exception; each means that it is damaged.
        except Exception as error:
            raise damaged(path, describe(error)) from error
    with np.errstate(over="ignore", invalid="ignore"):
        scores = np.ascontiguousarray(stored, dtype=np.float32)
    if not np.isfinite(scores).all():
        count = np.count_nonzero(~np.isfinite(scores))
        raise DatasetError(
            f"{path}: expected finite scores, got {count} of {scores.size} that are NaN or "
            "infinite (as float32); next step: correct the method that wrote them"
        )
    is_exact = stored.dtype.kind == "b" or stored.dtype.itemsize <= 2
    if is_exact or stored.dtype.kind + str(stored.dtype.itemsize) == "f4":
        return scores
    return scores if np.array_equal(scores, stored) else stored.astype(np.float64)


def write_map(
    path: Path,
    anomaly_map: npt.NDArray[np.floating[Any]],
    dtype: Literal["float16", "float32"] = "float32",
) -> None:
    """Write an anomaly map (H, W) as TIFF, atomically.

    Raises:
        DatasetError: the map is not 2-D, or a score is not finite in `dtype`.
    """
    import tifffile

    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(anomaly_map, dtype=dtype)
    if stored.ndim != 2 or not np.isfinite(stored).all():
        raise DatasetError(
            f"{path}: expected an anomaly map of shape (height, width) with scores that are "
            f"finite as {dtype}, got shape {stored.shape} with "
            f"{np.count_nonzero(~np.isfinite(stored))} that are not"
        )
    stream = io.BytesIO()
    tifffile.imwrite(stream, stored, metadata=None)
    files.write_bytes(path, stream.getvalue())


def _read_npy(path: Path, stream: BufferedReader, like: Path | None) -> npt.NDArray[Any]:
    """Read an array of the NPY format (NumPy Enhancement Proposal 1), versions 1 to 3."""
    head = stream.read(12)
    if head.startswith(b"PK"):
        raise DatasetError(f"{path}: expected one NumPy array, got an archive of several")
    if head[:6] != b"\x93NUMPY" or head[6] not in (1, 2, 3):
        raise DatasetError(f"{path}: expected a NumPy array, got another file")
    start, width = (10, 2) if head[6] == 1 else (12, 4)
    stream.seek(start)
    length = int.from_bytes(head[8 : 8 + width], "little")
    text = stream.read(length).decode("latin-1") if length <= _LONGEST_NPY_HEADER else ""
    # NumPy parses this dictionary as Python, which a hostile one can make run out of memory.
    fields = [re.search(pattern, text) for pattern in _NPY_FIELDS]
    if None in fields:
        raise damaged(path, "its header does not describe an array of numbers")
    descr, order, sizes = (found.group(1) for found in fields if found is not None)
    shape, dtype = tuple(int(size) for size in re.findall(r"\d+", sizes)), np.dtype(descr)
    _check(path, shape, dtype, like)
    count = shape[0] * shape[1]
    if start + length + count * dtype.itemsize > stream.seek(0, io.SEEK_END):
        raise damaged(path, "truncated")
    stream.seek(start + length)
    stored = np.empty(count, dtype)
    stream.readinto(stored.view(np.uint8).data)
    return stored.reshape(shape, order=_NPY_ORDERS[order])


def _read_tiff(path: Path, stream: BufferedReader, like: Path | None) -> npt.NDArray[Any]:
    page = tiff.read_page(stream)
    if page.pages != 1:
        raise DatasetError(f"{path}: expected a TIFF of one page, got {page.pages} pages")
    shape = page.size if page.samples == 1 else (*page.size, page.samples)
    _check(path, shape, page.dtype or page.type_name, like)
    if page.least_bytes > stream.seek(0, io.SEEK_END):
        raise damaged(path, "truncated: it is too short for the size that it claims")
    if page.is_plain:
        return tiff.read_samples(stream, page)
    if not page.is_exact_in_opencv:
        raise DatasetError(
            f"{path}: expected a TIFF without compression, or with Deflate, LZW or PackBits of "
            f"integers, float32 or float64, got {page.dtype} with {page.compression_name}; next "
            "step: write it without compression"
        )
    stream.seek(0)
    stored = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    dtype = None if page.dtype is None else page.dtype.newbyteorder("=")
    if stored is None or stored.shape != page.size or stored.dtype != dtype:
        raise damaged(path, f"its pixels ({page.compression_name}) cannot be decoded")
    return stored


def _check(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any] | str, like: Path | None
) -> None:
    """Check what the header of a map states, before memory is taken for its pixels."""
    is_real = isinstance(dtype, np.dtype) and dtype.kind in "fiub" and dtype.itemsize <= 8
    if len(shape) != 2 or not is_real or not all(type(n) is int and n > 0 for n in shape):
        raise DatasetError(
            f"{path}: expected one real-valued anomaly map of shape (height, width), got "
            f"{dtype} of shape {shape}"
        )
    size = shape[0], shape[1]
    check_size(path, size, "anomaly map")
    if like is not None:
        check_same_size(path, size, like, "a map")


def _maps_in(folder: Path) -> dict[str, Path]:
    """The maps of a kind folder by the id of their image; empty if there is no such folder."""
    if not folder.is_dir():
        return {}
    maps: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in maps:
            raise DatasetError(
                f"{path}: expected one map per image, got {maps[path.stem].name} as well; "
                "next step: remove one of them"
            )
        maps[path.stem] = path
    return maps
