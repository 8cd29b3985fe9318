"""Which models of anomalib run behind our contract, offline, on images of 128 px.

Run by `make anomalib-models`. Every model is built, trained for a few steps on six synthetic
images, asked about one good image and one with a defect, saved, loaded and asked again; each in a
process of its own. Pretrained networks have random weights here: the scores say nothing about a
model; what is shown is whether its code runs under our protocol, and what it needs if it does not.
"""

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "results" / "anomalib_models.md"
TIMEOUT_S = 240
SMALL_VIT = {"encoder_name": "vit_small_patch14_dinov2"}
SETTINGS: dict[str, dict[str, object]] = {
    "AnomalyDINO": {"size_px": 126},
    "Cfa": {"resize": "square", "model": {"backbone": "resnet18"}},
    "Cflow": {"model": {"backbone": "resnet18", "layers": ["layer2"], "fiber_batch_size": 256}},
    "Csflow": {"size_px": 256, "resize": "square", "batch_size": 2, "max_steps": 2},
    "Dfkde": {"model": {"n_pca_components": 3}},
    "Dinomaly": {"size_px": 126, "model": SMALL_VIT},
    "EfficientAd": {"batch_size": 1},
    "Fre": {"model": {"backbone": "resnet18", "input_dim": 5120}},
    "FoundAD": {"resize": "square", "model": {"encoder_name": "dinov2_vit_small_14"}},
    "GeneralAD": {
        "resize": "square",
        "model": {"backbone": "vit_small_patch14_dinov2", "layers": [11]},
    },
    "Ganomaly": {"resize": "square"},
    "InpFormer": {"resize": "square", "size_px": 126, "model": SMALL_VIT},
    "L2BT": {"size_px": 126, "multiple_px": 14},
    "MHPatchcore": {"model": {"memory_bank_size": 50, "local_coreset_size": 50}},
    "Rad": {"model": {"backbone": "vit_small_patch16_dinov3"}},
    "SuperADD": {
        "model": {"backbone": "vit_small_patch16_dinov3", "patch_size": 128, "layers": [5, 11]}
    },
}
"""What makes a model small enough for this, or lets it take a small image."""


def main(argv: list[str]) -> int:
    """Without arguments every model into the table; with one, that model as a line of JSON."""
    if len(argv) > 1:
        print(json.dumps(try_model(argv[1])))
        return 0
    from loco_tools.methods.anomalib.adapter import EXCLUDED, model_names

    rows = []
    for name in model_names():
        rows.append(row := apart(name))
        print(row, flush=True)
    RESULTS.write_text(document(rows, EXCLUDED), encoding="utf-8")
    return 0


def apart(name: str) -> dict[str, object]:
    """`try_model` in a process of its own, with a bound on its time."""
    try:
        done = subprocess.run(  # noqa: S603 - this file itself
            [sys.executable, __file__, name],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return {"name": name, "error": f"not finished in {TIMEOUT_S} s"}
    except subprocess.CalledProcessError as error:
        return {"name": name, "error": error.stderr.strip().splitlines()[-1]}


def try_model(name: str) -> dict[str, object]:
    """Fit, predict, save, load and predict again."""
    import numpy as np

    from loco_tools.errors import LocoToolsError
    from loco_tools.methods import create, load_detector
    from loco_tools.methods.anomalib.adapter import model_class
    from loco_tools.methods.anomalib.weights import no_downloads

    train = [image(seed) for seed in range(6)]
    test = [image(30), image(31)]
    test[1][30:60, 40:70] = (250, 40, 30)
    settings = {"size_px": 128, "batch_size": 4, "max_steps": 4, **SETTINGS.get(name, {})}
    began = time.perf_counter()
    try:
        with no_downloads(model_class(name)):  # around all of it: networks have random weights
            detector = create(f"anomalib:{name}", backbone=None, overrides=settings)
            detector.fit(train, [image(20), image(21)], seed=0)
        before = list(detector.predict(test))
        seconds = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as folder:
            detector.save(Path(folder) / "model")
            after = list(load_detector(Path(folder) / "model", device="cpu").predict(test))
    except LocoToolsError as error:
        return {"name": name, "error": str(error)}
    return {
        "name": name,
        "input": list(detector.input_size),
        "seconds": round(seconds, 1),
        "flat": bool(all(np.ptp(one.map) == 0 for one in before)),
        "same": all(
            np.isclose(one.score, other.score, rtol=1e-4)
            and np.allclose(one.map, other.map, rtol=1e-3, atol=1e-4)
            for one, other in zip(before, after, strict=True)
        ),
    }


def image(seed: int) -> "np.ndarray":  # noqa: F821
    """Stripes with noise, 96 x 128 px."""
    import numpy as np

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :128]
    texture = 120 + 20 * np.sin(x / 3) + 0.3 * y
    return np.clip(texture[..., None] + rng.normal(0, 4, (96, 128, 3)), 0, 255).astype(np.uint8)


def document(rows: list[dict[str, object]], excluded: dict[str, str]) -> str:
    """The table as Markdown."""
    version = importlib.metadata.version("anomalib")
    lines = [line(row) for row in rows] + [f"| {k} | no | {v} |" for k, v in excluded.items()]
    works = sum("error" not in row for row in rows)
    return TEXT.format(version=version, works=works, total=len(lines), rows="\n".join(lines))


def line(row: dict[str, object]) -> str:
    """One model's line."""
    if "error" in row:
        text = str(row["error"]).removeprefix(f"anomalib:{row['name']}: ")
        text = text.partition("; next step:")[0].partition("; expected what")[0]
        return f"| {row['name']} | no | {text.replace('|', '/').replace(str(Path.home()), '~')} |"
    remarks = [f"input {row['input'][0]} x {row['input'][1]}"]  # type: ignore[index]
    if row["name"] in SETTINGS:
        remarks.append("with " + json.dumps(SETTINGS[str(row["name"])]))
    if row["flat"]:
        remarks.append("scores whole images only: its maps are flat")
    if not row["same"]:
        remarks.append("PREDICTS DIFFERENTLY once saved and loaded")
    return f"| {row['name']} | yes | {'; '.join(remarks)} |"


TEXT = """# Models of anomalib behind our contract

`make anomalib-models` (`benchmark/speed/anomalib/models.py`), anomalib {version}, offline, on a
CPU: six synthetic training images of 96 x 128 px, four steps, predictions, then saved, loaded and
asked again. Pretrained networks have random weights, so this shows whether a model's code runs
under our protocol, not how good it is. {works} of {total} run. Settings other than the model's
own are in the remarks. Draem had no textures but its own noise.

| model | runs | remarks |
|---|---|---|
{rows}
"""

if __name__ == "__main__":
    sys.exit(main(sys.argv))
