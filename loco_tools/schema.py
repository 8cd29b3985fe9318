"""The base class of the models of all files that people edit or other programs read.

The models are frozen pydantic models. An unknown key is an error that names the nearest valid one;
every error names the file, the key, what was expected and what was found.
"""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from loco_tools.errors import DefinitionError, did_you_mean


class Schema(BaseModel):
    """A frozen model in which unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Schema)


def read_toml(model: type[Model], path: Path) -> Model:
    """Read one TOML file as `model`.

    Raises:
        DefinitionError: the file cannot be read, is not TOML, or does not match the model.
    """
    return _read(model, path, "TOML", tomllib.loads)


def read_json(model: type[Model], path: Path) -> Model:
    """Read one JSON file as `model`; errors as for `read_toml`."""
    return _read(model, path, "JSON", json.loads)


def _read(model: type[Model], path: Path, language: str, loads: Callable[[str], Any]) -> Model:
    try:
        content = loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DefinitionError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(
            f"{path}: expected {language}, got a syntax error: {error}"
        ) from error
    return parse(model, content, origin=str(path))


def parse(model: type[Model], content: Any, *, origin: str) -> Model:
    """Turn plain data into a `model`.

    Args:
        model: the class of the model.
        content: dictionaries, lists, strings and numbers.
        origin: a file or a command-line option, with which error messages begin.

    Raises:
        DefinitionError: the data does not match the model; the message lists every fault.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = [_explain(model, fault) for fault in error.errors(include_url=False)]
        raise DefinitionError(f"{origin}: " + "; ".join(faults)) from error


def _explain(model: type[BaseModel], fault: Any) -> str:
    key = ".".join(str(step) for step in fault["loc"]) or "the file"
    if fault["type"] == "extra_forbidden":
        keys = _keys_at(model, fault["loc"][:-1])
        return f"unknown key {key}; {did_you_mean(str(fault['loc'][-1]), keys)}"
    if fault["type"] == "missing":
        return f"{key} is missing"
    if fault["type"] == "value_error":
        return f"{key}: {fault['ctx']['error']}"
    return f"{key}: {fault['msg'].lower()}, got {fault['input']!r}"


def _keys_at(model: type[BaseModel], steps: tuple[Any, ...]) -> list[str]:
    """The valid keys of the model nested at `steps`, in which list indices and tags are skipped."""
    candidates: list[type[BaseModel]] = [model]
    for step in steps:
        tagged = [m for m in candidates if step in _tags(m)]
        nested = [n for m in candidates if step in m.model_fields for n in _nested(m, step)]
        candidates = tagged or nested or candidates
    return sorted({key for m in candidates for key in m.model_fields})


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """The value that distinguishes a model in a union: that of its literal `kind` or `shape`."""
    field = model.model_fields.get("kind") or model.model_fields.get("shape")
    values = get_args(field.annotation) if field else ()
    return values if len(values) == 1 else ()


def _nested(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    """All models in the annotation of a field."""
    models: list[type[BaseModel]] = []
    pending: list[Any] = [model.model_fields[field].annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            models.append(annotation)
        pending.extend(get_args(annotation))
    return models
