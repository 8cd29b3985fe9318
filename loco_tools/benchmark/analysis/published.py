"""Published results to compare a run with: `benchmark/published.toml`.

A class counts as an official one when its name, its layout and the number of its test images are
those of the data set; a mean over all classes is compared with nothing less than all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.run.results_csv import MeanOverSeeds
from loco_tools.definitions import shipped_root
from loco_tools.errors import DefinitionError
from loco_tools.evaluation.metric_table import METRICS
from loco_tools.schema import Schema, read_toml

Dataset = Literal["mvtec_loco", "mvtec_ad"]

NAMES: dict[Dataset, str] = {"mvtec_loco": "MVTec LOCO AD", "mvtec_ad": "MVTec AD"}


class PublishedFigure(Schema):
    """One figure in percent; `class_name` is empty for the mean over all classes of the data set.

    `ours` is our name of the same method, empty where we do not have it.
    """

    dataset: Dataset
    method: str
    ours: str = ""
    class_name: str = Field(default="", alias="class")
    figure: str
    value: float = Field(gt=0, le=100)
    source: str = Field(min_length=1)
    note: str = ""


class Published(Schema):
    """`published.toml`; `classes` are the official ones with their good and anomalous images."""

    schema_version: Literal[1]
    figures: tuple[PublishedFigure, ...]
    classes: dict[Dataset, dict[str, tuple[int, int]]]


@dataclass(frozen=True)
class PublishedComparison:
    """A published result and ours on the same class or classes.

    `ours` is by method of the run: those that are the same method, by the method's name.
    """

    published: PublishedFigure
    ours: dict[str, MeanOverSeeds]


def read_published() -> Published:
    """The published results that came with the installation.

    Raises:
        DefinitionError: the file does not fit, or names a figure or class that does not exist.
    """
    path = shipped_root() / "benchmark" / "published.toml"
    found = read_toml(Published, path)
    for number, one in enumerate(found.figures):
        classes = found.classes.get(one.dataset, {})
        if one.figure not in METRICS or (one.class_name not in {"", *classes}):
            raise DefinitionError(
                f"{path}: figures.{number}: expected the name of a metric and a class of "
                f"{one.dataset}, got {one.figure!r} and {one.class_name!r}"
            )
    return found


def compare_with_published(data: ReportData, published: Published) -> list[PublishedComparison]:
    """Every published result on classes that the run has, in the order of the file."""
    official = {name: official_classes(data, published, name) for name in published.classes}
    methods = {entry.name: entry.implementation for entry in data.run.suite.entries()}
    found = []
    for one in published.figures:
        classes = official.get(one.dataset, {})
        if one.class_name:
            chosen = [classes[one.class_name]] if one.class_name in classes else []
        else:
            complete = set(classes) == set(published.classes.get(one.dataset, {}))
            chosen = list(classes.values()) if complete else []
        if chosen:
            same = [title for title, name in methods.items() if one.ours and name == one.ours]
            means = {title: data.over_classes(chosen, title, one.figure) for title in same}
            found.append(
                PublishedComparison(one, {t: mean for t, mean in means.items() if mean is not None})
            )
    return found


def official_classes(
    data: ReportData, published: Published, dataset: Dataset
) -> dict[str, ClassResults]:
    """The classes of a run that are official ones of a data set, by name."""
    known = published.classes.get(dataset, {})
    return {
        one.name: one
        for one in data.classes
        if one.name in known and one.layout == dataset and _counts(one) == known[one.name]
    }


def settings_of(data: ReportData, method: str) -> str:
    """The settings of our result that decide how comparable it is."""
    records = [record for one in data.classes for record in one.of(method)]
    told: Sequence[str] = [
        f"preset {record.stamp.preset}, {record.stamp.backbone.partition(':')[0]}, "
        f"{record.stamp.input_size_px or record.config.get('size_px', '?')} px"
        for record in records
    ]
    return "; ".join(dict.fromkeys(told))


def _counts(one: ClassResults) -> tuple[int, int]:
    """Good and anomalous test images."""
    counts = one.done[0].counts if one.done else {}
    good = counts.get("test/good", 0)
    return good, sum(n for name, n in counts.items() if name.startswith("test/")) - good
