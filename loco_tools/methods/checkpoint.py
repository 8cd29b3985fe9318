"""Fitted detectors on disk: a JSON record and a safetensors file, written and read atomically.

Neither format can carry code, so reading one executes nothing.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from loco_tools import files
from loco_tools.errors import DefinitionError, MethodError
from loco_tools.schema import Schema, read_json
from loco_tools.wording import printable

RECORD = "detector.json"
TENSORS = "detector.safetensors"


class Record(Schema):
    """`detector.json`."""

    schema_version: Literal[1] = 1
    method: str
    config: dict[str, Any]
    backbone: str | None
    """The backbone's tag."""
    input_size: tuple[int, int]
    training_log: list[dict[str, float]]
    members: tuple[str, ...] = ()
    """Names of an ensemble's members, which are saved under `members/<number>`."""
    sha256: str | None = None
    """See `digest_with`; None in the records of versions that did not note it."""


def write(folder: Path, record: Record, tensors: Mapping[str, Tensor]) -> None:
    """Replace `folder` by one that holds the detector."""
    with files.folder_swapped_in(folder) as fresh:
        write_into(fresh, record, tensors)


def write_into(folder: Path, record: Record, tensors: Mapping[str, Tensor]) -> None:
    """Write the two files of a detector into an existing folder."""
    from safetensors.torch import save

    content = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
    plain = record.model_dump(mode="json")
    files.write_bytes(folder / TENSORS, content)
    files.write_json(folder / RECORD, {**plain, "sha256": digest_with(plain, content)})


def digest_with(record: Mapping[str, Any], content: bytes) -> str:
    """The SHA-256 of a record, without its entry "sha256", and of the arrays saved with it.

    Arrays have no checksum of their own: a changed bit in them would be a wrong figure.
    """
    kept = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode() + content).hexdigest()


def read(folder: Path, *, expected: Collection[str] = ()) -> tuple[Record, dict[str, Tensor]]:
    """The record and the arrays of a saved detector.

    Args:
        folder: the folder that `write` was given.
        expected: names that the detector's method may have; empty: any.

    Raises:
        MethodError: nothing there, a damaged file, or a detector of another method.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    record = read_record(folder)
    if expected and record.method not in expected:
        raise MethodError(
            f"{folder}: expected a fitted {min(expected)}, got a fitted {record.method}"
        )
    try:
        content = (folder / TENSORS).read_bytes()
        noted = record.sha256
        if noted is not None and noted != digest_with(record.model_dump(mode="json"), content):
            raise ValueError("it or its record differs from what was saved")
        return record, load(content)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise MethodError(
            f"{folder / TENSORS}: expected a detector's arrays, got a damaged or missing file "
            f"({printable(str(error))}); next step: fit the detector again"
        ) from error


def read_record(folder: Path) -> Record:
    """The record of a saved detector; errors as for `read`."""
    try:
        return read_json(Record, folder / RECORD)
    except DefinitionError as error:
        raise MethodError(f"{error}; expected a folder written by a detector's save") from error
