"""`training.json`: how losses and held-out figures went while a cell was trained."""

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
"""Of one curve; longer ones are averaged over equal stretches."""

_PLACES = ("step", "epoch")


class TrainingCurve(Schema):
    """One figure over the training: "loss", "loss/PART", "learning_rate", "validation".

    `x` are steps done, or epochs where a method counts nothing finer; `y` is the figure's mean over
    the stretch that ends there.
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
    names = dict.fromkeys(name for entry in log for name in entry if name not in _PLACES)
    return TrainingCurves(curves=tuple(_curve(name, log) for name in names))


def write_curves(folder: Path, log: Sequence[Mapping[str, float]]) -> None:
    """Write `training.json` into a cell's folder; nothing where nothing was trained by steps."""
    if log:
        files.write_json(folder / TRAINING_FILE, curves_of(log).model_dump(mode="json"))


def read_curves(folder: Path) -> TrainingCurves:
    """The curves of a finished cell; none where nothing was trained by steps.

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


def _curve(name: str, log: Sequence[Mapping[str, float]]) -> TrainingCurve:
    entries = [entry for entry in log if name in entry]
    unit: Literal["step", "epoch"] = "step" if all("step" in e for e in entries) else "epoch"
    width = math.ceil(len(entries) / MOST_POINTS)
    stretches = [entries[start : start + width] for start in range(0, len(entries), width)]
    return TrainingCurve(
        name=name,
        unit=unit,
        x=tuple(stretch[-1][unit] for stretch in stretches),
        y=tuple(sum(entry[name] for entry in one) / len(one) for one in stretches),
    )
