"""How many pictures per second the digital twin renders, and how much noise rendering leaves.

    python benchmark/speed/twin.py --pictures 3

renders good parts of every class in every view at 640 x 480, with all cores, and one picture of the
flat connector at 1600 x 1100, at the samples per pixel that the plans ask for. The first picture of
each class, which makes its textures, is not counted. Noise is the deviation of one pixel between
renders that differ in their light paths alone, on surfaces of medium brightness and on the cloth,
over the sensor's own noise there. Prints one JSON object; `core_seconds` also tells what the speed
would be on a machine with nothing else to do.
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from unittest import mock

import cv2
import numpy as np

from loco_tools import twin
from loco_tools.plan import Plan, load_plan
from loco_tools.twin import scene, sensor

CLASSES = ("flat_connector", "angle", "composite_part")
NOISE_SIZE = (240, 180)
NOISE_RENDERS = 4
LENS_BLUR_PX = 0.6
LEVELS = {"metal": (0.3, 0.6), "cloth": (0.0, 0.03)}
"""Ranges of linear radiance; 1 saturates the sensor."""


def main() -> None:
    """Render, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=3, help="per view")
    options = parser.parse_args()
    speeds = {
        name: _speeds(_resized(load_plan(name), 640, 480), options.pictures) for name in CLASSES
    }
    every = [1 / view["per_second"] for views in speeds.values() for view in views.values()]
    figures = {
        "pictures_per_second": {
            "640x480": speeds,
            "640x480_mean": 1 / float(np.mean(every)),
            "1600x1100": {
                "flat_connector": _speeds(_resized(load_plan("flat_connector"), 1600, 1100), 1)
            },
        },
        "noise_over_sensor_noise": {name: _noise(load_plan(name)) for name in CLASSES},
        "samples_per_pixel": {name: load_plan(name).twin.samples_per_pixel for name in CLASSES},
        "pictures_per_view": options.pictures,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "variant": twin.variant(),
        "versions": {name: version(name) for name in ("loco-tools", "mitsuba", "drjit")},
        "python": platform.python_version(),
    }
    print(json.dumps(figures, indent=2))


def _resized(plan: Plan, width: int, height: int) -> Plan:
    size = {"width_px": width, "height_px": height}
    return plan.model_copy(update={"camera": plan.camera.model_copy(update=size)})


def _speeds(plan: Plan, count: int) -> dict[str, dict[str, float]]:
    """Pictures per second by view, and the seconds of a core that a picture costs."""
    warm_up = _resized(plan, 64, 48)
    found = {}
    for view in plan.views:
        twin.render(warm_up, 0, None, view.name)
        start, cpu_start = time.perf_counter(), time.process_time()
        for seed in range(1, count + 1):
            twin.render(plan, seed, None, view.name)
        found[view.name] = {
            "per_second": count / (time.perf_counter() - start),
            "core_seconds": (time.process_time() - cpu_start) / count,
        }
    return found


def _noise(plan: Plan) -> dict[str, float]:
    """Deviation of a pixel by the renderer over that by the sensor, on metal and on cloth."""
    plan = _resized(plan, *NOISE_SIZE)
    stack = np.stack([_radiance(plan, shift) for shift in range(NOISE_RENDERS)])[..., 1]
    mean, deviation = stack.mean(axis=0), stack.std(axis=0, ddof=1)
    found = {}
    for name, (low, high) in LEVELS.items():
        there = (mean >= low) & (mean < high)
        of_sensor = sensor.noise_deviation(mean[there])
        found[name] = float(np.sqrt(np.mean((deviation[there] / of_sensor) ** 2)))
    return found


def _radiance(plan: Plan, shift: int) -> np.ndarray:
    """What the lens makes of the first view when the light takes other paths, (H, W, 3)."""
    taken: list[np.ndarray] = []
    picture = scene.picture

    def with_other_paths(*args: object, seed: int, **named: object) -> np.ndarray:
        taken.append(picture(*args, seed=seed + 10 * shift, **named))
        return taken[0]

    with mock.patch.object(scene, "picture", with_other_paths):
        twin.render(plan, 1, None, plan.views[0].name)
    return cv2.GaussianBlur(taken[0], (0, 0), LENS_BLUR_PX)


if __name__ == "__main__":
    main()
