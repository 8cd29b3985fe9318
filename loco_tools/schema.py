"""The base of every file that people edit or other programs read.

Such files are frozen pydantic models; an unknown key is refused with the nearest valid one, and
each error names the file, the place, what was expected and what was found.
"""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from loco_tools.errors import DefinitionError, did_you_mean


class Schema(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Schema)


def read_toml(model: type[Model], path: Path) -> Model:
    """Read one TOML file as `model`.

    Raises:
        DefinitionError: the file cannot be read, is no TOML, or does not fit the model.
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
    """Turn plain data into `model`; `origin` (a file, a command-line option) opens the message.

    Raises:
        DefinitionError: the data does not fit; the message lists every fault.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = [_explain(model, fault) for fault in error.errors(include_url=False)]
        raise DefinitionError(f"{origin}: " + "; ".join(faults)) from error


def _explain(model: type[BaseModel], fault: Any) -> str:
    place = ".".join(str(step) for step in fault["loc"]) or "the file"
    if fault["type"] == "extra_forbidden":
        keys = _keys_at(model, fault["loc"][:-1])
        return f"unknown key {place}; {did_you_mean(str(fault['loc'][-1]), keys)}"
    if fault["type"] == "missing":
        return f"{place} is missing"
    if fault["type"] == "value_error":
        return f"{place}: {fault['ctx']['error']}"
    return f"{place}: {fault['msg'].lower()}, got {fault['input']!r}"


def _keys_at(model: type[BaseModel], steps: tuple[Any, ...]) -> list[str]:
    """The valid keys of the model nested at `steps`; list indices and union tags are passed."""
    candidates: list[type[BaseModel]] = [model]
    for step in steps:
        tagged = [m for m in candidates if _tag(m) == step]
        inner = [n for m in candidates if step in m.model_fields for n in _models(m, step)]
        candidates = tagged or inner or candidates
    fields = [item for m in candidates for item in m.model_fields.items()]
    return sorted({field.alias or name for name, field in fields})


def _tag(model: type[BaseModel]) -> str | None:
    for name in ("kind", "shape"):
        if name in model.model_fields:
            values = get_args(model.model_fields[name].annotation)
            return str(values[0]) if len(values) == 1 else None
    return None


def _models(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    pending: list[Any] = [model.model_fields[field].annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        pending.extend(get_args(annotation))
    return found
