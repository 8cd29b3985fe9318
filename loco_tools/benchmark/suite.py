"""Suites: what a benchmark compares, given on the command line or in `benchmark/suites/*.toml`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from loco_tools import definitions
from loco_tools.benchmark.executor_settings import AnyExecutor, LocalSettings, with_options
from loco_tools.ensembles import ENSEMBLES
from loco_tools.errors import BenchmarkError, did_you_mean
from loco_tools.methods import METHODS, Resize
from loco_tools.schema import Schema, loads_toml, parse, read_toml
from loco_tools.wording import shortened

DEFAULT_MEMBERS = ("patchcore", "simplenet")
"""Members of an ensemble when the suite names no other method."""

EVERY_METHOD = "*"
"""Stands in a suite for every method in `METHODS` that it does not list otherwise."""

EXECUTOR = "executor"
"""Opens the settings of the executor: `--set executor.field=value`."""

Preset = Literal["fast", "paper"]


class MethodEntry(Schema):
    """One entry of a comparison: a method with its settings, or an ensemble of other entries.

    In TOML an entry is its implementation alone (`"patchcore"`) or a table:
    `{ name = "patchcore", label = "patchcore-small", input_size_px = 128 }`. The entry `"*"` stands
    for every shipped method that the suite does not list otherwise.

    Attributes:
        implementation: what is run; the key `name` of TOML. A name in
            `loco_tools.methods.METHODS` or in `loco_tools.ensembles.ENSEMBLES`, or "module:Class"
            of a plug-in.
        label: the name of the entry where the implementation's own name would be ambiguous, so
            that one method can be compared with itself under other settings.
        preset: None means that of the suite.
        input_size_px: None means that of the suite; an ensemble uses that of its members.
        resize: as for `input_size_px`.
        overrides: fields of the method's configuration that differ from the preset.
        members: names of the entries that an ensemble combines; empty means every entry of the
            suite that is no ensemble.
    """

    implementation: str = Field(alias="name", min_length=1)
    label: str = ""
    preset: Preset | None = None
    input_size_px: PositiveInt | None = None
    resize: Resize | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    members: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_what_belongs_to_ensembles(self) -> Self:
        if self.members and not self.is_ensemble:
            raise ValueError(
                f'members are for ensembles, got them on "{self.implementation}"; '
                f"{did_you_mean(self.implementation, ENSEMBLES)}"
            )
        if self.is_ensemble and (self.input_size_px or self.resize):
            raise ValueError(
                f'"{self.name}" is an ensemble and uses the input size of its members; expected '
                "input_size_px and resize on those"
            )
        return self

    @property
    def name(self) -> str:
        """The name in results and folders: the label, or else the implementation."""
        return self.label or self.implementation

    @property
    def is_ensemble(self) -> bool:
        """Whether it is built from fitted members."""
        return self.implementation in ENSEMBLES

    @property
    def settings(self) -> dict[str, Any]:
        """The overrides, on top of those that the name of an ensemble stands for."""
        named = ENSEMBLES[self.implementation].overrides if self.is_ensemble else {}
        return {**named, **self.overrides}


class Suite(Schema):
    """Methods x classes x seeds, and the settings that all cells share."""

    schema_version: Literal[1] = 1
    name: str = "bench"
    about: str = ""
    methods: Annotated[tuple[MethodEntry, ...], Field(min_length=1)]
    classes: tuple[str, ...] = ()
    """Names of classes; empty means every class of the data."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    backbone: str | None = None
    """None: the default backbone, or a weight-free one where its weights are not available."""
    weights: str | None = None
    """A local file with the state dict of the backbone."""
    preset: Preset | None = None
    """None: "paper" on a GPU, "fast" on a CPU."""
    input_size_px: PositiveInt | None = None
    resize: Resize = "keep"
    device: str = "auto"
    """"auto", "cpu", "cuda" or "cuda:1"."""
    threads: PositiveInt | None = None
    """CPU threads of torch and of the numerical libraries in every cell, on which the figures of
    trained methods depend. None: those of OMP_NUM_THREADS where it is set, or else 2, whatever the
    machine and the executor."""
    maps: bool = False
    """Whether anomaly maps are kept, in the layout of the official evaluators."""
    executor: AnyExecutor = LocalSettings()
    """The executor that runs the cells; no result depends on it."""

    @field_validator("methods", mode="before")
    @classmethod
    def _turn_names_into_entries(cls, value: Any) -> Any:
        """Entries from names; the name "*" becomes every shipped method not listed otherwise."""
        if not isinstance(value, list | tuple):
            return value
        entries = [{"name": entry} if isinstance(entry, str) else entry for entry in value]
        tables = [entry for entry in entries if isinstance(entry, dict)]
        others = [name for name in METHODS if all(table.get("name") != name for table in tables)]
        expanded: list[Any] = []
        for entry in entries:
            every = isinstance(entry, dict) and entry.get("name") == EVERY_METHOD
            expanded += [{**entry, "name": name} for name in others] if every else [entry]
        return expanded

    @field_validator("executor", mode="before")
    @classmethod
    def _default_to_local_kind(cls, value: Any) -> Any:
        return {"kind": "local", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check_names_and_seeds(self) -> Self:
        folders = [folder_name(entry.name) for entry in self.methods]
        repeated = sorted({name for name in folders if folders.count(name) > 1})
        if repeated:
            raise ValueError(f"each method needs its own label, got {repeated} more than once")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"each seed counts once, got {list(self.seeds)}")
        return self

    def size_of(self, entry: MethodEntry) -> int | None:
        """`input_size_px` of an entry, or else of the suite."""
        return entry.input_size_px or self.input_size_px

    def resize_of(self, entry: MethodEntry) -> Resize:
        """`resize` of an entry, or else of the suite."""
        return entry.resize or self.resize

    def preset_of(self, entry: MethodEntry, device: str) -> Preset:
        """`preset` of an entry, or else of the suite, or else the one made for the device."""
        by_device: Preset = "paper" if device.startswith("cuda") else "fast"
        return entry.preset or self.preset or by_device

    def entries(self) -> tuple[MethodEntry, ...]:
        """Every entry with the members of ensembles filled in, members before their ensembles.

        A suite of ensembles alone gets `DEFAULT_MEMBERS` as further entries.

        Raises:
            BenchmarkError: an ensemble names a member that is no entry of the suite.
        """
        singles = [entry for entry in self.methods if not entry.is_ensemble]
        ensembles = [entry for entry in self.methods if entry.is_ensemble]
        if ensembles and not singles:
            singles = [MethodEntry(name=name) for name in DEFAULT_MEMBERS]
        names = tuple(entry.name for entry in singles)
        filled = [
            entry.model_copy(update={"members": entry.members or names}) for entry in ensembles
        ]
        for entry in filled:
            for member in entry.members:
                if member not in names:
                    raise BenchmarkError(
                        f'ensemble "{entry.name}": unknown member "{member}"; '
                        f"{did_you_mean(member, names)}"
                    )
        return (*singles, *filled)


def load_suite(name: str, workspace: Path | None = None) -> Suite:
    """Read a suite by name or path.

    Raises:
        DefinitionError: it does not exist or is wrong.
    """
    return read_toml(Suite, definitions.locate("benchmark/suites", name, workspace))


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Settings of the command line, "method.field=value" each, as a mapping.

    A value is TOML (12, 0.5, true, "text", [1, 2]) and is taken as text when it is no TOML.

    >>> parse_settings(["patchcore.coreset_ratio=0.2", "executor.partition=gpu"])
    {'patchcore.coreset_ratio': 0.2, 'executor.partition': 'gpu'}

    Raises:
        BenchmarkError: a text is written in another way.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and all(key.rpartition("."))):
            raise BenchmarkError(
                f"--set {shortened(text)}: expected method.field=value, such as "
                "patchcore.coreset_ratio=0.2"
            )
        try:
            settings[key] = loads_toml(f"value = {value}")["value"]
        except ValueError:
            settings[key] = value
    return settings


def with_settings(suite: Suite, settings: Mapping[str, Any]) -> Suite:
    """The suite with fields of its methods, or of its executor, changed.

    Args:
        suite: what to change.
        settings: "method.field" or "executor.field" -> value.

    Raises:
        BenchmarkError: no such method in the suite. Unknown fields of a method are found when the
            detector is made.
        DefinitionError: an unknown field of the executor, or a value that does not fit.
    """
    entries = {entry.name: entry for entry in suite.entries()}
    executor_options: dict[str, Any] = {}
    for setting, value in settings.items():
        name, _, field = setting.rpartition(".")
        if name == EXECUTOR and name not in entries:
            executor_options[field] = value
            continue
        if name not in entries:
            raise BenchmarkError(
                f'--set {shortened(f"{setting}={value}")}: no method "{shortened(name)}"; '
                f"{did_you_mean(name, [*entries, EXECUTOR])}"
            )
        overrides = {**entries[name].overrides, field: value}
        entries[name] = entries[name].model_copy(update={"overrides": overrides})
    changed = suite.model_copy(update={"methods": tuple(entries.values())})
    return with_executor(changed, executor_options)


def with_executor(suite: Suite, options: Mapping[str, Any]) -> Suite:
    """The suite with some settings of its executor changed; these may include its `kind`.

    Raises:
        DefinitionError: an unknown field, or a value that does not fit.
    """
    if not options:
        return suite
    plain = {
        **suite.model_dump(by_alias=True),
        EXECUTOR: with_options(suite.executor, dict(options)),
    }
    return parse(Suite, plain, origin="command line")


def folder_name(name: str) -> str:
    """The name of an entry as a folder name that every file system accepts.

    >>> folder_name("my_package.knn:Detector")
    'my_package.knn_Detector'
    """
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".") or "_"
