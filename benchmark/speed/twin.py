"""Pictures per second of the digital twin, and the noise of its renderer.

    python benchmark/speed/twin.py --pictures 3

The script renders good parts of every class in every view at 640 x 480 pixels with all cores, and
one picture of the flat connector at 1600 x 1100, with the samples per pixel of the plans. The first
picture of each class, which computes its textures, does not count. The noise is the standard
deviation of a pixel over renders that differ only in their light paths, divided by the sensor's
noise at that pixel, on surfaces of medium brightness and on the cloth. The script prints one JSON
object; `core_seconds` gives the speed independently of other load on the machine.
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
    """Render, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=3, help="pictures per view")
    options = parser.parse_args()
    speeds = {
        name: _speeds(_resized(load_plan(name), 640, 480), options.pictures) for name in CLASSES
    }
    seconds = [1 / view["per_second"] for views in speeds.values() for view in views.values()]
    measured = {
        "pictures_per_second": {
            "640x480": speeds,
            "640x480_mean": 1 / float(np.mean(seconds)),
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
    print(json.dumps(measured, indent=2))


def _resized(plan: Plan, width: int, height: int) -> Plan:
    size = {"width_px": width, "height_px": height}
    return plan.model_copy(update={"camera": plan.camera.model_copy(update=size)})


def _speeds(plan: Plan, count: int) -> dict[str, dict[str, float]]:
    """Pictures per second and core seconds per picture, by view."""
    warm_up = _resized(plan, 64, 48)
    results = {}
    for view in plan.views:
        twin.render(warm_up, 0, None, view.name)
        start, cpu_start = time.perf_counter(), time.process_time()
        for seed in range(1, count + 1):
            twin.render(plan, seed, None, view.name)
        results[view.name] = {
            "per_second": count / (time.perf_counter() - start),
            "core_seconds": (time.process_time() - cpu_start) / count,
        }
    return results


def _noise(plan: Plan) -> dict[str, float]:
    """Noise of the renderer over that of the sensor, on metal and on cloth."""
    plan = _resized(plan, *NOISE_SIZE)
    stack = np.stack([_radiance(plan, shift) for shift in range(NOISE_RENDERS)])[..., 1]
    mean, deviation = stack.mean(axis=0), stack.std(axis=0, ddof=1)
    results = {}
    for name, (low, high) in LEVELS.items():
        mask = (mean >= low) & (mean < high)
        of_sensor = sensor.noise_deviation(mean[mask])
        results[name] = float(np.sqrt(np.mean((deviation[mask] / of_sensor) ** 2)))
    return results


def _radiance(plan: Plan, shift: int) -> np.ndarray:
    """Blurred radiance (H, W, 3) of the first view with other light paths for each `shift`."""
    pictures: list[np.ndarray] = []
    picture = scene.picture

    def with_other_paths(*args: object, seed: int, **named: object) -> np.ndarray:
        pictures.append(picture(*args, seed=seed + 10 * shift, **named))
        return pictures[0]

    with mock.patch.object(scene, "picture", with_other_paths):
        twin.render(plan, 1, None, plan.views[0].name)
    return cv2.GaussianBlur(pictures[0], (0, 0), LENS_BLUR_PX)


if __name__ == "__main__":
    main()
