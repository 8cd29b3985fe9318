"""The settings that `side_by_side.py` compares, and the table of its measurements."""

import argparse
from pathlib import Path
from typing import Any

RATIO = 0.1
NEIGHBOURS = 9
SIDES = ("anomalib", "loco-tools")
TRAINED: dict[str, dict[str, Any]] = {
    "rd4ad": {
        "model": "ReverseDistillation",
        "network": "resnet18",
        "arguments": {"backbone": "resnet18"},
        "size_px": 256,
        "steps": 8,
    },
    "csflow": {
        "model": "Csflow",
        "network": "efficientnet_b5",
        "arguments": {},
        "size_px": 256,
        "steps": 4,
    },
    "draem": {"model": "Draem", "network": None, "arguments": {}, "size_px": 128, "steps": 4},
}
"""Ours -> anomalib's, both with the published widths."""
FEW_IMAGES = 16

TITLES = {
    "anomalib": "anomalib's Patchcore",
    "same": "ours, the same function",
    "fast": "ours, preset fast (default on a CPU)",
}
HEAD = """# anomalib and loco-tools side by side

`make speed-anomalib` (`benchmark/speed/anomalib/side_by_side.py`); every line is a process of its
own.
"""


def document(found: dict[str, Any], options: argparse.Namespace) -> str:
    """What has been measured so far, as Markdown."""
    from loco_tools.benchmark.cell.cost import hardware, versions

    about = {**hardware("cpu"), **versions()}
    lines = [HEAD + ", ".join(f"{key} {value}" for key, value in about.items()) + "."]
    lines += [options.note] if options.note else []
    classes = [Path(one.partition("=")[0]).resolve().name for one in options.classes]
    for number, name in enumerate(classes):
        lines += patchcore_table(found, number, name, options)
    return "\n".join([*lines, *trained_table(found, classes[0]), ""])


def patchcore_table(
    found: dict[str, Any], number: int, name: str, options: argparse.Namespace
) -> list[str]:
    """PatchCore on one class."""
    rows = {kind: found.get(f"patchcore/{number}/{kind}") for kind in TITLES}
    exact = found.get(f"patchcore/{number}/exact")
    rate = found.get(f"patchcore/{number}/rate")
    known = next((row for row in rows.values() if row), None)
    if known is None:
        return []
    size = options.size
    lines = [
        f"\n## PatchCore on {name}\n",
        f"{known['train']} good images to train on, {known['test']} to test, {size} x {size} px,",
        f"{options.backbone} with the weights of one file, features at strides 8 and 16, coreset",
        f"ratio {RATIO}, score re-weighted over {NEIGHBOURS} neighbours (the preset: as published,",
        "not re-weighted, at most 4,000 of 100,000 patches kept).\n",
        "| | image AUROC | fit, s | ms per image | CPU: fit, s | CPU: ms | peak, MB "
        "| patches kept | farthest patch |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [patchcore_line(kind, row) for kind, row in rows.items() if row]
    if exact:
        lines.append(
            f"| exact greedy, one row at a time | | {exact['seconds']:.1f} (choosing alone) "
            f"| | | | | {exact['kept']} | {exact['radius']:.4f} |"
        )
    if rate:
        lines.append(
            f"\nanomalib's sampler alone, in a bounded trial of {options.selections}: "
            f"{rate['rate']:.1f} patches per second, which makes {rate['seconds']:.0f} s for all "
            f"{rate['wanted']}."
        )
    return [*lines, *verdicts(rows, exact, rate)]


def patchcore_line(kind: str, row: dict[str, Any]) -> str:
    """One line of it."""
    far = f"{row['radius']:.4f}" if kind != "fast" else "(other features)"
    fit, cpu, title = f"{row['fit_s']:.1f}", f"{row['fit_cpu_s']:.1f}", TITLES[kind]
    if row["borrowed"]:
        fit, cpu, far, title = "(see below)", "", "(ours)", f"{title}, with the patches ours kept"
    return (
        f"| {title} | {row['auroc']:.4f} | {fit} | {row['ms']:.1f} | "
        f"{cpu} | {row['cpu_ms']:.1f} | {row['peak_mb']:.0f} | "
        f"{row['kept']} of {row['patches']} | {far} |"
    )


def verdicts(rows: dict[str, Any], exact: Any, rate: Any) -> list[str]:
    """What the table says, in ratios."""
    theirs, ours = rows["anomalib"], rows["same"]
    whole = theirs and not theirs["borrowed"]
    lines = []
    if ours and exact:
        ratio = ours["radius"] / exact["radius"]
        lines.append(f"- farthest patch, ours to exact greedy's: {ratio:.4f}")
    if whole and exact:
        ratio = theirs["radius"] / exact["radius"]
        lines.append(f"- farthest patch, anomalib's to exact greedy's: {ratio:.4f}")
    if theirs and ours:
        points = 100 * (ours["auroc"] - theirs["auroc"])
        lines += [
            f"- image AUROC, ours minus anomalib's: {points:+.2f} points",
            faster("predict", theirs["ms"] / ours["ms"], theirs["cpu_ms"] / ours["cpu_ms"]),
            "- the same function: patches that anomalib keeps are at most "
            f"{theirs['apart']:.1e} away from patches of ours",
        ]
    if whole and ours:
        wall, cpu = (theirs[key] / ours[key] for key in ("fit_s", "fit_cpu_s"))
        lines.append(faster("fit", wall, cpu))
    if ours and rate:
        wall, cpu = rate["seconds"] / ours["fit_s"], rate["cpu_s"] / ours["fit_cpu_s"]
        lines.append(faster("fit, anomalib's choosing alone, extrapolated", wall, cpu))
    return ["", *lines] if lines else []


def faster(what: str, wall: float, cpu: float) -> str:
    """How many times as fast ours is."""
    return f"- {what}: {wall:.1f} times as fast ({cpu:.1f} times as little time of the processor)"


def trained_table(found: dict[str, Any], name: str) -> list[str]:
    """The trained models."""
    lines = []
    for method, case in TRAINED.items():
        for side in SIDES:
            row = found.get(f"trained/{method}/{side}")
            if row:
                title = case["model"] if side == "anomalib" else method
                lines.append(
                    f"| {side} {title} | {case['size_px']} | {case['steps']} | "
                    f"{row['step_s']:.2f} | {row['fit_s']:.1f} | {row['ms']:.0f} | "
                    f"{row['step_cpu_s']:.2f} | {row['fit_cpu_s']:.1f} | {row['cpu_ms']:.0f} | "
                    f"{row['peak_mb']:.0f} |"
                )
    if not lines:
        return []
    return [
        "\n## Trained models\n",
        f"A few steps of 4 images on {FEW_IMAGES} images of {name}, published widths, random",
        "weights in the backbone (resnet18; EfficientNet-B5; none): speed alone. Seconds per step",
        "are the median of all but the first.\n",
        "| | input, px | steps | s per step | fit, s | ms per image "
        "| CPU: s per step | CPU: fit, s | CPU: ms | peak, MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *lines,
    ]
