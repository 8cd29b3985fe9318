import time

import numpy as np

from loco_tools.benchmark.measure import PeakMemory, Stopwatch, hardware, versions


def test_the_peak_covers_what_was_held_for_a_moment() -> None:
    with PeakMemory("cpu") as idle:
        time.sleep(0.06)
    with PeakMemory("cpu") as busy:
        held = np.ones(30_000_000)
        time.sleep(0.12)
        del held
    assert busy.peak_mb > idle.peak_mb + 150
    assert busy.of == "process"


def test_a_stopwatch_adds_up_its_blocks() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch:
            time.sleep(0.01)
    assert 0.02 <= watch.total_s < 1


def test_hardware_and_versions_are_words() -> None:
    assert int(hardware("cpu")["cpu_cores"]) >= 1
    assert {"python", "numpy", "loco-tools"} <= set(versions())
