"""Read the top-level list of a JSON file one entry at a time.

The exports of large projects have hundreds of megabytes. The file is mapped into memory, the bounds
of each entry are located without parsing it, and only one entry at a time is turned into objects.
"""

import contextlib
import json
import mmap
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.annotations.formats.json_checks import describe
from loco_tools.errors import AnnotationError
from loco_tools.schema import loads_json

MAX_DEPTH = 100
"""JSON that nests deeper is refused; exports nest about ten levels."""

MAX_ENTRY_BYTES = 128 * 2**20
"""Single tasks larger than this are refused before they are parsed."""

MAX_ENTRY_TOKENS = 4_000_000
"""Single tasks with more lists, objects and texts are refused: each takes far more memory than its
bytes in the file."""

MAX_ENTRIES = 1_000_000
"""Files with more tasks are refused."""

_RELEASED_BYTES = 32 * 2**20

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \t\n\r]*+")
# a string, a string without end, a list or an object of plain numbers and words, or one bracket
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?+\Z)|\[[^\[\]{}"]*+\]|[\[\]{}]', re.DOTALL)
_PLAIN = re.compile(rb'[^\s,\[\]{}"]++')
_TASK_KEYS = {"annotations", "data", "annotation_id"}


class TooLargeError(AnnotationError):
    """An export exceeds one of the bounds above."""


def entries(path: Path) -> Generator[Any, None, None]:
    """The tasks of an export in order; a file may also hold a single task without a list.

    Raises:
        TooLargeError: the file nests deeper than `MAX_DEPTH`, has an entry of more than
            `MAX_ENTRY_BYTES` or `MAX_ENTRY_TOKENS`, or more than `MAX_ENTRIES` entries.
        AnnotationError: the file cannot be read, is not JSON, or holds no tasks.
    """
    with _scan(path) as scan:
        yield from scan.entries()


def values(path: Path) -> Generator[Any, None, None]:
    """Whatever a JSON file holds: the entries of a list, or one value after another.

    Raises:
        AnnotationError: as for `entries`, but the values may be anything.
    """
    with _scan(path) as scan:
        yield from scan.values()


def first_object(path: Path) -> dict[str, Any] | None:
    """The first entry that is an object; None where the file holds none or cannot be read."""
    with contextlib.closing(entries(path)) as tasks:
        try:
            return next((entry for entry in tasks if isinstance(entry, dict)), None)
        except AnnotationError:
            return None


def is_whole_list(path: Path) -> bool:
    """Whether a file is one complete JSON list, read entry by entry.

    A list that exceeds the bounds counts as complete.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with files.open_regular(path) as stream, _mapped(path, stream.fileno()) as content:
            scan = _Scan(path, content)
            listed = scan.is_list()
            for _ in scan.entries():
                pass
    except TooLargeError:
        return listed
    except AnnotationError:
        return False
    return listed


@contextlib.contextmanager
def _scan(path: Path) -> "Iterator[_Scan]":
    try:
        with files.open_regular(path) as stream, _mapped(path, stream.fileno()) as content:
            yield _Scan(path, content)
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from error


@contextlib.contextmanager
def _mapped(path: Path, descriptor: int) -> Iterator[mmap.mmap]:
    try:
        content = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise AnnotationError(f"{path}: expected a JSON export, got an empty file") from error
    try:
        yield content
    finally:
        with contextlib.suppress(BufferError):  # a traceback may still hold a match
            content.close()


class _Scan:
    """One pass over the bytes of a file."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self._path, self._content = path, content
        encoding = json.detect_encoding(content[:4])
        if not encoding.startswith("utf-8"):
            raise AnnotationError(
                f"{path}: expected a JSON export in UTF-8, got {encoding}; next step: save it as "
                "UTF-8"
            )
        self._at = len(_BOM) if content[:3] == _BOM else 0
        self._released = 0

    def is_list(self) -> bool:
        """Whether the file begins with a list, rather than with a single entry."""
        return self._next() == b"["

    def entries(self) -> Iterator[Any]:
        """Every entry of the list, or the one task that the file holds."""
        if not self.is_list():
            task = self._entry(depth=0)
            if not (isinstance(task, dict) and _TASK_KEYS & task.keys()):
                raise AnnotationError(
                    f"{self._path}: expected a Label Studio export (a list of tasks with their "
                    f"annotations), got {describe(task)}; next step: export from Label Studio as "
                    "JSON"
                )
            yield task
        else:
            self._at += 1
            if self._next() == b"]":
                self._at += 1
            else:
                yield from self._listed_entries()
        if self._next():
            raise self._fault(f"something after the end, at byte {self._at}")

    def values(self) -> Iterator[Any]:
        """Every entry of a list, or every value up to the end of the file."""
        if self.is_list():
            yield from self.entries()
        while self._next():
            yield self._entry(depth=0)

    def _listed_entries(self) -> Iterator[Any]:
        """The entries of a list that is not empty, up to its closing bracket."""
        for _ in range(MAX_ENTRIES):
            yield self._entry(depth=1)
            # release the pages that were read, else they count as memory of this process
            read = self._at // mmap.PAGESIZE * mmap.PAGESIZE
            if read - self._released >= _RELEASED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
                self._content.madvise(mmap.MADV_DONTNEED, self._released, read - self._released)
                self._released = read
            separator = self._next()
            self._at += 1
            if separator == b"]":
                return
            if separator != b",":
                got = "the file's end" if not separator else repr(separator.decode("latin-1"))
                raise self._fault(f"{got} at byte {self._at - 1} instead of a comma")
        raise self._refusal(f"it has more than {MAX_ENTRIES} tasks; next step: export in parts")

    def _next(self) -> bytes:
        """The next byte that is not white space, b"" at the end."""
        space = _SPACE.match(self._content, self._at)
        self._at = space.end() if space else self._at
        return self._content[self._at : self._at + 1]

    def _entry(self, depth: int) -> Any:
        self._next()
        start, self._at = self._at, self._end_of_value(depth)
        if self._at - start > MAX_ENTRY_BYTES:
            size = self._at - start
            raise self._refusal(f"one task has {size} bytes; expected at most {MAX_ENTRY_BYTES}")
        try:
            return loads_json(self._content[start : self._at], is_shallow=True)
        except ValueError as error:
            reason = str(error)
            if isinstance(error, json.JSONDecodeError):
                reason = self._syntax_error(start, error)
            where = f", in the entry at byte {start}" if depth else ""
            raise self._fault(reason + where) from error

    def _syntax_error(self, start: int, error: json.JSONDecodeError) -> str:
        """What is wrong with the entry that begins at the byte `start`."""
        begin = self._content[start : start + 40].decode("utf-8", "replace")
        if begin[:1] in {"{", "[", '"'}:
            return f"a syntax error at byte {start + len(error.doc[: error.pos].encode())}"
        return f"text that begins with {describe(begin)}" if begin else "the file's end"

    def _end_of_value(self, depth: int) -> int:
        """Position behind the value that begins here."""
        if self._content[self._at : self._at + 1] not in {b"{", b"[", b'"'}:
            plain = _PLAIN.match(self._content, self._at)
            return plain.end() if plain else self._at
        open_brackets = 0
        for number, token in enumerate(_TOKEN.finditer(self._content, self._at)):
            if number > MAX_ENTRY_TOKENS:
                raise self._refusal(f"one task has more than {MAX_ENTRY_TOKENS} lists and texts")
            first = self._content[token.start()]
            if token.end() - token.start() == 1 and first != ord('"'):
                open_brackets += 1 if first in b"[{" else -1
                if depth + open_brackets > MAX_DEPTH:
                    raise self._too_deep()
            if open_brackets <= 0:
                return token.end()
        raise self._fault(f"the file's end in the entry at byte {self._at}")

    def _too_deep(self) -> TooLargeError:
        return self._refusal(f"its JSON is nested too deeply; expected at most {MAX_DEPTH} levels")

    def _refusal(self, reason: str) -> TooLargeError:
        return TooLargeError(f"{self._path}: refused, {reason}")

    def _fault(self, got: str) -> AnnotationError:
        return AnnotationError(
            f"{self._path}: expected a JSON export, got {got}; next step: export again"
        )
