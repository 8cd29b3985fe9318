"""How long the twin will take, for planning a long run."""

import os

from loco_tools.plan import Plan

_CORE_S_PER_SAMPLE = 1.1e-6
"""Of one core, per pixel and sample; benchmark/speed/twin.py measures it."""


def estimated_s(plan: Plan) -> float:
    """Seconds that one picture of the plan takes on the cores of this machine, within a factor 2.

    Measured with the scalar variant; nothing is rendered.
    """
    camera = plan.camera
    samples = camera.width_px * camera.height_px * plan.twin.samples_per_pixel
    return samples * _CORE_S_PER_SAMPLE / _cores()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
