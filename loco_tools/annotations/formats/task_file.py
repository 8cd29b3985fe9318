"""Reading the top-level list of a JSON file one entry at a time.

Exports of large projects have hundreds of megabytes. The file is mapped into memory, the bounds of
each entry are found without parsing it, and only one entry at a time is turned into objects.
"""

import contextlib
import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loco_tools.annotations.formats.json_checks import described
from loco_tools.errors import AnnotationError

MAX_DEPTH = 100
"""JSON that nests deeper is refused; exports nest about ten levels."""

MAX_ENTRY_BYTES = 128 * 2**20
"""Single tasks larger than this are refused before they are parsed."""

MAX_ENTRY_TOKENS = 4_000_000
"""So are tasks of more lists, objects and texts: small ones take far more memory than bytes."""

MAX_ENTRIES = 1_000_000
"""And files with more tasks."""

_RELEASED_BYTES = 32 * 2**20

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \t\n\r]*+")
# a string, a string without end, a list or an object of plain numbers and words, or one bracket
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?+\Z)|\[[^\[\]{}"]*+\]|[\[\]{}]', re.DOTALL)
_PLAIN = re.compile(rb'[^\s,\[\]{}"]++')
_TASK_KEYS = {"annotations", "data", "annotation_id"}


class TooLargeError(AnnotationError):
    """An export exceeds one of the bounds above, be it whole or not."""


def entries(path: Path) -> Iterator[Any]:
    """The tasks of an export in order; a task alone, without a list, is one.

    Raises:
        TooLargeError: it nests deeper than `MAX_DEPTH`, has an entry of more than
            `MAX_ENTRY_BYTES` or `MAX_ENTRY_TOKENS`, or more than `MAX_ENTRIES`.
        AnnotationError: the file cannot be read, is no JSON, or holds no tasks.
    """
    try:
        with path.open("rb") as stream, _mapped(path, stream.fileno()) as content:
            yield from _Scan(path, content).entries()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from error


def is_whole_list(path: Path) -> bool:
    """Whether a file is one JSON list from its beginning to its end, read entry by entry.

    A list beyond the bounds counts as whole as far as it was read.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream, _mapped(path, stream.fileno()) as content:
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
        """Whether a list begins here, rather than an entry alone."""
        return self._next() == b"["

    def entries(self) -> Iterator[Any]:
        """Every entry of the list, or the one object that there is."""
        if not self.is_list():
            yield self._only_task()
        else:
            self._at += 1
            yield from self._listed()
        if self._next():
            raise self._fault(f"something after the end, at byte {self._at}")

    def _listed(self) -> Iterator[Any]:
        if self._next() == b"]":
            self._at += 1
            return
        for _ in range(MAX_ENTRIES):
            yield self._entry(depth=1)
            self._release()
            separator = self._next()
            self._at += 1
            if separator == b"]":
                return
            if separator != b",":
                got = "the file's end" if not separator else repr(separator.decode("latin-1"))
                raise self._fault(f"{got} at byte {self._at - 1} instead of a comma")
        raise self._refusal(f"it has more than {MAX_ENTRIES} tasks; next step: export in parts")

    def _release(self) -> None:
        """Let go of what was read, where the system allows it; else it counts as ours."""
        read = self._at // mmap.PAGESIZE * mmap.PAGESIZE
        if read - self._released >= _RELEASED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._content.madvise(mmap.MADV_DONTNEED, self._released, read - self._released)
            self._released = read

    def _only_task(self) -> Any:
        found = self._entry(depth=0)
        if isinstance(found, dict) and _TASK_KEYS & found.keys():
            return found
        raise AnnotationError(
            f"{self._path}: expected a Label Studio export (a list of tasks with their "
            f"annotations), got {described(found)}; next step: export from Label Studio as JSON"
        )

    def _next(self) -> bytes:
        """The next byte that is no white space, b"" at the end."""
        found = _SPACE.match(self._content, self._at)
        self._at = found.end() if found else self._at
        return self._content[self._at : self._at + 1]

    def _entry(self, depth: int) -> Any:
        self._next()
        start, self._at = self._at, self._end_of_value(depth)
        if self._at - start > MAX_ENTRY_BYTES:
            size = self._at - start
            raise self._refusal(f"one task has {size} bytes; expected at most {MAX_ENTRY_BYTES}")
        try:
            return json.loads(self._content[start : self._at].decode("utf-8"))
        except RecursionError as error:
            raise self._too_deep() from error
        except ValueError as error:
            raise self._fault(f"{error}, in the entry at byte {start}") from error

    def _end_of_value(self, depth: int) -> int:
        """Where the value that begins here ends."""
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
        return len(self._content)

    def _too_deep(self) -> TooLargeError:
        return self._refusal(f"its JSON is nested too deeply; expected at most {MAX_DEPTH} levels")

    def _refusal(self, reason: str) -> TooLargeError:
        return TooLargeError(f"{self._path}: refused, {reason}")

    def _fault(self, got: str) -> AnnotationError:
        return AnnotationError(
            f"{self._path}: expected a JSON export, got {got}; next step: export again"
        )
