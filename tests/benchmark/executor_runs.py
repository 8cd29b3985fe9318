"""What tests of every executor ask of a run."""

import contextlib
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path


class RecordingProgress:
    """A progress that records what it receives."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.advanced: list[int] = []
        self.notes: list[str] = []
        self.open = 0

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        self.opened.append(description)
        self.open += 1
        try:
            yield self.advanced.append
        finally:
            self.open -= 1

    def note(self, message: str) -> None:
        self.notes.append(message)


TIMES = {"fit_s", "ms_per_image", "peak_mb", "images_per_s"}


def table(out: Path) -> list[dict[str, str]]:
    """results.csv without what no two runs share."""
    with (out / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def wait_for(condition: Callable[[], object], timeout_s: float = 90) -> None:
    """Wait until a condition holds; a failed test when it does not come about."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
