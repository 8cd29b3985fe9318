"""`training.json`: losses and validation metrics over the training of a cell."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from loco_tools import files
from loco_tools.errors import BenchmarkError, DefinitionError
from loco_tools.schema import Schema, read_json

TRAINING_FILE = "training.json"
MOST_POINTS = 500
"""Points of one curve; longer curves are averaged over chunks of equal length."""

_UNITS = ("step", "epoch")


class TrainingCurve(Schema):
    """One quantity over the training: "loss", "loss/PART", "learning_rate" or "validation".

    `x` counts steps, or epochs where a method logs nothing finer; `y` is the mean of the quantity
    over the chunk of steps that ends at `x`.
    """

    name: str
    unit: Literal["step", "epoch"]
    x: tuple[float, ...]
    y: tuple[float, ...]

    @model_validator(mode="after")
    def _points_are_pairs(self) -> Self:
        if len(self.x) != len(self.y):
            raise ValueError(f"expected as many x as y, got {len(self.x)} and {len(self.y)}")
        return self


class TrainingCurves(Schema):
    """`training.json`; absent where a method is not trained by steps."""

    schema_version: Literal[1] = 1
    curves: tuple[TrainingCurve, ...]


def curves_of(log: Sequence[Mapping[str, float]]) -> TrainingCurves:
    """The curves of a detector's `training_log`, each of at most `MOST_POINTS` points.

    >>> curves_of([{"step": 5, "loss": 2.0}, {"step": 10, "loss": 1.0}]).curves[0].y
    (2.0, 1.0)
    """
    curves = []
    for name in dict.fromkeys(name for entry in log for name in entry if name not in _UNITS):
        entries = [entry for entry in log if name in entry]
        unit: Literal["step", "epoch"] = "step" if all("step" in e for e in entries) else "epoch"
        length = math.ceil(len(entries) / MOST_POINTS)
        chunks = [entries[start : start + length] for start in range(0, len(entries), length)]
        x = tuple(chunk[-1][unit] for chunk in chunks)
        y = tuple(sum(entry[name] for entry in chunk) / len(chunk) for chunk in chunks)
        curves.append(TrainingCurve(name=name, unit=unit, x=x, y=y))
    return TrainingCurves(curves=tuple(curves))


def write_training_log(folder: Path, log: Sequence[Mapping[str, float]]) -> None:
    """Write `training.json` into a cell's folder, unless the log is empty."""
    if log:
        files.write_json(folder / TRAINING_FILE, curves_of(log).model_dump(mode="json"))


def read_training_log(folder: Path) -> TrainingCurves:
    """Read the curves of a finished cell; empty if nothing was trained in steps.

    Raises:
        BenchmarkError: the file is damaged.
    """
    path = folder / TRAINING_FILE
    if not path.is_file():
        return TrainingCurves(curves=())
    try:
        return read_json(TrainingCurves, path)
    except DefinitionError as error:
        raise BenchmarkError(
            f"{error}; next step: remove the cell's folder and run the benchmark again"
        ) from error
