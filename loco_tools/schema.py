"""Parsing of JSON and TOML, and the base class of the models of all files in these languages.

Files are not trusted: whatever is in them, parsing them ends in plain data of bounded depth and
finite size or in one `ValueError`. The models are frozen pydantic models. An unknown key is an
error that names the nearest valid one; every error names the file, the key, what was expected and
what was found.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from loco_tools import files
from loco_tools.errors import DefinitionError, did_you_mean
from loco_tools.wording import printable, shortened

MAX_DEPTH = 100
"""Lists and objects that are nested deeper are refused; our own files nest about ten levels."""

MAX_DIGITS = 300
"""Whole numbers with more digits are refused; they do not fit into a floating-point number."""

_SAMPLED = 6
_MANY_DIGITS = re.compile(rf"[0-9]{{{(MAX_DIGITS + 1) // _SAMPLED}}}")
"""Matches every sixth character of a number with too many digits, which finds it six times as fast
as looking at all; other text hardly ever matches, and then nothing but time is lost."""


class Schema(BaseModel):
    """A frozen model in which unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Schema)


def loads_json(content: str | bytes, *, is_shallow: bool = False) -> Any:
    """Parse JSON; bytes are UTF-8.

    Args:
        content: the text.
        is_shallow: whether the caller has checked that it is not nested too deeply; in long lists
            of numbers the check takes longer than the parsing.

    Raises:
        ValueError: a syntax error, bytes that are not UTF-8, nesting beyond `MAX_DEPTH`, or a whole
            number of more than `MAX_DIGITS` digits. No other exception is raised.
    """
    text = content if isinstance(content, str) else files.decode(content)
    # a hook for every number is slow, and hardly any file needs it
    hooks: Any = {"parse_int": _bounded_int} if _MANY_DIGITS.search(text[::_SAMPLED]) else {}
    try:
        parsed = json.loads(text, **hooks)
    except RecursionError:
        raise _too_deep() from None
    if not is_shallow:
        _check_depth(parsed)
    return parsed


def loads_toml(text: str) -> dict[str, Any]:
    """Parse TOML; errors as for `loads_json`."""
    try:
        parsed = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # beyond Python's own limit for the digits of a number
        raise _too_long() from error
    _check_depth(parsed)
    for value in _plain_values(parsed):
        if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
            raise _too_long()
    return parsed


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _too_long()
    return int(digits)


def _check_depth(parsed: Any) -> None:
    """Raise a ValueError for data nested deeper than `MAX_DEPTH`."""
    level = [parsed] if isinstance(parsed, (dict, list)) else []
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    raise _too_deep()


def _plain_values(parsed: Any) -> Iterator[Any]:
    """Every value that is no list or object, of data whose depth was checked."""
    if isinstance(parsed, (dict, list)):
        for inner in parsed.values() if isinstance(parsed, dict) else parsed:
            yield from _plain_values(inner)
    else:
        yield parsed


def _too_deep() -> ValueError:
    return ValueError(f"lists or objects nested deeper than {MAX_DEPTH} levels")


def _too_long() -> ValueError:
    return ValueError(f"a whole number of more than {MAX_DIGITS} digits")


def read_toml(model: type[Model], path: Path) -> Model:
    """Read one TOML file as `model`.

    Raises:
        DefinitionError: the file cannot be read, is not TOML, or does not match the model.
    """
    return _read(model, path, "TOML", loads_toml)


def read_json(model: type[Model], path: Path) -> Model:
    """Read one JSON file as `model`; errors as for `read_toml`."""
    return _read(model, path, "JSON", loads_json)


def _read(model: type[Model], path: Path, language: str, loads: Callable[[str], Any]) -> Model:
    try:
        content = loads(files.read_text(path))
    except OSError as error:
        raise DefinitionError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DefinitionError(
            f"{path}: expected {language}, got {printable(str(error))}; next step: correct the "
            "file, or restore it from a copy"
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
    return f"{key}: {fault['msg'].lower()}, got {shortened(repr(fault['input']))}"


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
