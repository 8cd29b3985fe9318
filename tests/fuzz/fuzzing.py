"""Fuzzing of readers: damaged and hostile inputs, and the bounds that every reader has to keep.

`LOCO_TOOLS_FUZZ_INPUTS` is the number of inputs of each test, 2,000 by default; `make fuzz` sets
100,000. With the default the inputs are the same in every run; with more they are drawn anew.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco_tools.errors import LocoToolsError

DEFAULT_INPUTS = 2_000
INPUTS = int(os.environ.get("LOCO_TOOLS_FUZZ_INPUTS", DEFAULT_INPUTS))
LONGEST_S = 10.0
MOST_MEMORY = 2 * 2**30

_STATUS = Path("/proc/self/status")
_DAMAGES = ["bit", "byte", "number", "cut", "lose", "double", "mix", "noise", "end"]
_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]

Test = TypeVar("Test", bound=Callable[..., None])


def fuzz(one_in: int = 1, **inputs: st.SearchStrategy[Any]) -> Callable[[Test], Test]:
    """Run a test for each of `INPUTS` inputs; a failing input is made small and printed.

    Args:
        one_in: more than 1 for a test whose inputs take long: it gets `INPUTS / one_in` inputs.
        inputs: parameter of the test -> strategy.
    """

    def decorate(test: Test) -> Test:
        chosen = settings(
            max_examples=max(1, INPUTS // one_in),
            deadline=None,
            derandomize=INPUTS == DEFAULT_INPUTS,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )
        return chosen(given(**inputs)(test))

    return decorate


@contextlib.contextmanager
def within_bounds() -> Iterator[None]:
    """Around the reading of one input: it ends in time, in memory, and with our errors alone.

    An error of ours that hides a lack of memory or a recursion without bound is a failure too.
    """
    begun, memory = time.perf_counter(), _peak_memory()
    try:
        yield
    except LocoToolsError as error:
        _check_error(error)
    took = time.perf_counter() - begun
    assert took < LONGEST_S, f"it took {took:.1f} s"
    grown = _peak_memory() - memory
    assert grown < MOST_MEMORY, f"it asked for {grown / 2**20:.0f} MB of memory"


def _check_error(error: LocoToolsError) -> None:
    assert str(error).strip(), "an error without a message"
    cause: BaseException | None = error
    while cause is not None:
        assert not isinstance(cause, (MemoryError, RecursionError)), f"{cause!r} in {error}"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _peak_memory() -> int:
    """The largest address space that this process ever had, in bytes; 0 where it is not known."""
    if not _STATUS.is_file():
        return 0
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmPeak"))
    return int(line.split()[1]) * 1024


@st.composite
def damaged(draw: st.DrawFn, corpus: Sequence[bytes]) -> bytes:
    """One of the files with one to four damages: bytes changed, lost, doubled, mixed or cut off."""
    content = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, 2**31)) % (len(content) + 1)
        # most formats keep what matters in their first bytes
        at = at % 64 if draw(st.booleans()) else at
        length = draw(st.sampled_from([1, 2, 4, 8, 64, 1000]))
        match draw(
            st.sampled_from(
                ["bit", "byte", "number", "cut", "lose", "double", "mix", "noise", "end"]
            )
        ):
            case "bit" if at < len(content):
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "byte" if at < len(content):
                content[at] = draw(st.integers(0, 255))
            case "number":
                size = draw(st.sampled_from([1, 2, 4]))
                order: Any = draw(st.sampled_from(["little", "big"]))
                number = draw(st.sampled_from(_NUMBERS)) % 256**size
                content[at : at + size] = number.to_bytes(size, order)
            case "cut":
                del content[at:]
            case "lose":
                del content[at : at + length]
            case "double":
                content[at:at] = content[at : at + length]
            case "mix":
                other = draw(st.sampled_from(corpus))
                content[at:] = other[at:]
            case "noise":
                content[at : at + length] = draw(st.binary(min_size=1, max_size=16))
            case "end":
                content += draw(st.binary(max_size=16))
    return bytes(content)


HOSTILE_VALUES: Sequence[Any] = (
    None,
    True,
    "",
    "text",
    "\ud800",
    "a\x00b",
    "\x1b[31m",
    "../../etc/passwd",
    "x" * 10_000,
    0,
    -1,
    1.5,
    2**31,
    2**64,
    10**200,
    1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [None],
    {"": None},
)
"""Values that a writer of a file should not have put there."""


@st.composite
def hostile_json(draw: st.DrawFn, corpus: Sequence[Any]) -> bytes:
    """One of the documents as JSON, with values replaced, keys lost, or the text damaged."""
    content = json.loads(json.dumps(draw(st.sampled_from(corpus))))
    for _ in range(draw(st.integers(1, 3))):
        content = _replaced(draw, content)
    text = json.dumps(content).encode()
    match draw(st.sampled_from(["whole"] * 6 + ["deep", "long", "damaged"])):
        case "deep":
            depth = draw(st.sampled_from([50, 150, 2_000, 100_000]))
            return text.replace(b"null", b"[" * depth + b"]" * depth)
        case "long":
            return text.replace(b"null", b"9" * draw(st.sampled_from([20, 309, 5_000])))
        case "damaged":
            return draw(damaged([text]))
    return text


def _replaced(draw: st.DrawFn, content: Any) -> Any:
    """The document with one value anywhere in it replaced or removed."""
    if isinstance(content, dict) and content and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(content)))
        if not draw(st.integers(0, 9)):
            return {name: value for name, value in content.items() if name != key}
        return {**content, key: _replaced(draw, content[key])}
    if isinstance(content, list) and content and draw(st.integers(0, 9)):
        at = draw(st.integers(0, len(content) - 1))
        if not draw(st.integers(0, 9)):
            return content[:at] + content[at + 1 :]
        return [*content[:at], _replaced(draw, content[at]), *content[at + 1 :]]
    return draw(st.sampled_from(HOSTILE_VALUES) | st.integers() | st.floats() | st.text(max_size=5))
