import subprocess
import sys
import time

from loco_tools.benchmark.cell.cost import Stopwatch, hardware, versions

MOMENT = """
import time
import numpy as np
from loco_tools.benchmark.cell.cost import PeakMemory

with PeakMemory("cpu") as idle:
    time.sleep(0.2)
with PeakMemory("cpu") as busy:
    held = np.ones(30_000_000)
    end = time.monotonic() + 20
    while busy.peak_mb < idle.peak_mb + 200 and time.monotonic() < end:
        time.sleep(0.01)
    del held
assert busy.of == "process"
print(busy.peak_mb - idle.peak_mb)
"""


def test_the_peak_includes_memory_that_was_used_briefly() -> None:
    """In a process of its own, which holds no freed memory that would be used again."""
    done = subprocess.run(
        [sys.executable, "-c", MOMENT], capture_output=True, text=True, check=True
    )
    assert 200 <= float(done.stdout) < 400


def test_a_stopwatch_adds_up_its_blocks() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch:
            time.sleep(0.01)
    assert 0.02 <= watch.total_s < 1


def test_hardware_and_versions_are_words() -> None:
    assert int(hardware("cpu")["cpu_cores"]) >= 1
    assert {"python", "numpy", "loco-tools"} <= set(versions())
