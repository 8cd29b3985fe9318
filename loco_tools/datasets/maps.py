"""Anomaly maps on disk, in the layout of the official evaluators.

`<maps>/<class>/test/<kind folder>/<id>.tiff`, one real-valued map per test image, at the size of
the image. Maps from other programs may also be `.tif` (in any case) or `.npy`.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from loco_tools import files
from loco_tools.datasets.sample import Sample
from loco_tools.errors import DatasetError
from loco_tools.wording import plural

SUFFIXES = (".tiff", ".tif", ".npy")


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


def read_map(path: Path) -> npt.NDArray[np.float32]:
    """Read an anomaly map of any real type.

    Deviation: scores are compared as float32, so scores of a float64 map that differ by less are
    ties; the official evaluators compare the stored values.

    Returns:
        (H, W) float32.

    Raises:
        DatasetError: the file is missing or damaged, is not one 2-D real-valued map, or has NaN,
            infinity or numbers beyond the range of float32.
    """
    stored = _read_npy(path) if path.suffix.lower() == ".npy" else _read_tiff(path)
    if stored.ndim != 2 or stored.dtype.kind not in "fiub" or not stored.size:
        raise DatasetError(
            f"{path}: expected one real-valued anomaly map of shape (height, width), got "
            f"{stored.dtype} of shape {stored.shape}"
        )
    with np.errstate(over="ignore"):
        scores = np.ascontiguousarray(stored, dtype=np.float32)
    if not np.isfinite(scores).all():
        count = np.count_nonzero(~np.isfinite(scores))
        raise DatasetError(
            f"{path}: expected finite scores, got {count} of {scores.size} that are NaN or "
            "infinite (as float32); next step: correct the method that wrote them"
        )
    return scores


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


def _read_npy(path: Path) -> npt.NDArray[Any]:
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path}: expected a NumPy array, got: {error}") from error
    if not isinstance(stored, np.ndarray):
        raise DatasetError(f"{path}: expected one NumPy array, got an archive of several")
    return stored


def _read_tiff(path: Path) -> npt.NDArray[Any]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.pages) != 1:
                raise DatasetError(
                    f"{path}: expected a TIFF of one page, got {len(tiff.pages)} pages"
                )
            page: npt.NDArray[Any] = tiff.pages[0].asarray()
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such anomaly map") from error
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError) as error:
        raise DatasetError(f"{path}: expected a readable TIFF, got: {error}") from error
    return page


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
