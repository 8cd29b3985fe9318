"""What tests of every executor ask of a run."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

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
