"""anomalib and loco-tools on the same images, with the same weights, on the same machine.

    make speed-anomalib DATA="CLASS..." WEIGHTS=mobilenet_v2.pth

Every figure is taken in a process of its own with nothing else in it, and kept under --work, so
that the command can be run again after an interruption; --only runs some of them. PatchCore runs on
the whole of every class; where that is more than --whole images, anomalib's gets the patches that
ours kept, and its choosing is timed by a bounded number of selections. The three trained models run
a few steps on a few images of the first class, with random weights in the backbone: only their
speed is compared.

Images are brought to --size x --size beforehand, once, so that both see the same pixels.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from table import FEW_IMAGES, NEIGHBOURS, RATIO, SIDES, TRAINED, document

ROOT = Path(__file__).resolve().parents[3]
SEED = 0


def main() -> None:
    """Run what is missing and write the table, or one step and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "classes", nargs="+", help="folders of dataset classes; FOLDER=75 takes so many good images"
    )
    parser.add_argument("--weights", type=Path, required=True, help="of the backbone")
    parser.add_argument("--backbone", default="mobilenet_v2", help="torchvision's name")
    parser.add_argument("--timm", default="mobilenetv2_100", help="the same network in timm")
    parser.add_argument("--layers", default="blocks.2,blocks.4", help="strides 8 and 16 in timm")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of PatchCore's; give another --work"
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument(
        "--whole", type=int, default=100, help="most good images for a whole fit of anomalib's"
    )
    parser.add_argument("--selections", type=int, default=300, help="of anomalib's, for its rate")
    parser.add_argument("--work", type=Path, default=Path("runs/anomalib"))
    parser.add_argument("--out", type=Path, help="the table; default: printed")
    parser.add_argument("--note", default="", help="a sentence for the table's head")
    parser.add_argument("--only", default="", help="steps whose names begin so")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(run_step(options.step, options)))
        return
    for step in steps(options):
        if step.startswith(options.only):
            apart(step, options)
    kept = {step: place(step, options) for step in steps(options)}
    found = {step: json.loads(path.read_text()) for step, path in kept.items() if path.exists()}
    text = document(found, options)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        print(text)


def steps(options: argparse.Namespace) -> list[str]:
    """Names of everything that is measured; what is compared runs one after the other."""
    kinds = ("same", "anomalib", "fast", "rate", "exact")
    whole = [f"patchcore/{n}/{kind}" for n in range(len(options.classes)) for kind in kinds]
    return [*whole, *(f"trained/{method}/{side}" for method in TRAINED for side in SIDES)]


def place(step: str, options: argparse.Namespace) -> Path:
    """Where a step's figures are kept."""
    return Path(options.work) / (step.replace("/", "-") + ".json")


def apart(step: str, options: argparse.Namespace) -> None:
    """Run a step in a process of its own, unless it has been run before."""
    kept = place(step, options)
    if kept.exists():
        return
    print(f"{time.strftime('%H:%M:%S')} {step}", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, *sys.argv[1:], "--step", step]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode:
        print(f"{step} failed", file=sys.stderr)
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(done.stdout.splitlines()[-1], encoding="utf-8")


def run_step(step: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one step."""
    kind, first, second = step.split("/")
    if kind == "trained":
        return trained(first, second, options)
    images = Images(options.classes[int(first)], options.size)
    if second == "rate":
        return selection_rate(images, options)
    if second == "exact":
        return exact_greedy(images, options)
    return patchcore(second, images, options)


class Images:
    """A class's images at the size at which all are seen."""

    def __init__(self, spelled: str, size_px: int) -> None:
        from loco_tools.datasets import load
        from loco_tools.datasets.images import resize_image
        from loco_tools.datasets.reading import Images as Decoded

        folder, _, count = spelled.partition("=")
        found = load(Path(folder))
        size = (size_px, size_px)
        train = [*found.train, *found.validation][: int(count) if count else None]
        self.train = [resize_image(image, size) for image in Decoded(train)]
        self.test = [resize_image(image, size) for image in Decoded(found.test)]
        self.anomalous = [sample.kind != "good" for sample in found.test]


def patchcore(kind: str, images: Images, options: argparse.Namespace) -> dict[str, Any]:
    """Fit PatchCore on all good images, and ask it about every test image."""
    from loco_tools.benchmark.cell.cost import PeakMemory

    detector = make_patchcore(kind, options)
    with PeakMemory("cpu") as memory:
        began, began_cpu = time.perf_counter(), time.process_time()
        borrowed = kind == "anomalib" and len(images.train) > options.whole
        detector.fit(images.train[:2] if borrowed else images.train, [], seed=options.seed)
        fit_s, fit_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        if borrowed:  # its own choosing would take too long: ours lends it what it kept
            lender = make_patchcore("same", options).fit(images.train, [], seed=options.seed)
            detector.module.model.memory_bank = lender.bank.clone()
        list(detector.predict(images.test[:8]))
        began, began_cpu = time.perf_counter(), time.process_time()
        scores = [one.score for one in detector.predict(images.test)]
        predict_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    rows = patch_rows(images, options) if kind != "fast" else own_rows(detector, images)
    bank = detector.module.model.memory_bank if kind == "anomalib" else detector.bank
    found = {
        "auroc": auroc(scores, images.anomalous),
        "borrowed": borrowed,
        "fit_s": fit_s,
        "fit_cpu_s": fit_cpu_s,
        "ms": 1000 * predict_s / len(images.test),
        "cpu_ms": 1000 * cpu_s / len(images.test),
        "peak_mb": memory.peak_mb,
        "train": len(images.train),
        "test": len(images.test),
        "patches": len(rows),
        "kept": len(bank),
        "radius": radius(rows, bank),
    }
    if kind == "anomalib":  # zero when its features are the rows that ours are
        found["apart"] = radius(bank[:500], rows)
    return found


def make_patchcore(kind: str, options: argparse.Namespace) -> Any:
    """A PatchCore: anomalib's, ours computing the same function, or ours as it is on a CPU."""
    from loco_tools.methods import create
    from loco_tools.methods.backbones import named_backbone

    if kind == "anomalib":
        arguments = {
            "backbone": options.timm,
            "layers": options.layers.split(","),
            "coreset_sampling_ratio": RATIO,
            "num_neighbors": NEIGHBOURS,
        }
        settings = {"model": arguments, "weights": str(options.weights), "size_px": options.size}
        return create("anomalib:Patchcore", backbone=None, overrides=settings)
    backbone = named_backbone(options.backbone, options.weights)
    if kind == "fast":
        return create("patchcore", backbone=backbone, input_size_px=options.size)
    return same_function(backbone, options.size)


def same_function(backbone: Any, size_px: int) -> Any:
    """Our PatchCore with anomalib's patch features: means of 3 x 3, levels stacked as they are.

    Our settings cannot say that: as published, all levels get equally many channels.
    """
    from torch import nn
    from torch.nn import functional

    from loco_tools.methods.patchcore import PatchCore

    class MeanPatches(nn.Module):
        def forward(self, taps: Any) -> Any:
            import torch

            means = [functional.avg_pool2d(tap, 3, stride=1, padding=1) for tap in taps]
            grid = means[0].shape[-2:]
            alike = [functional.interpolate(m, size=grid, mode="bilinear") for m in means[1:]]
            return torch.cat([means[0], *alike], dim=1)

    settings = {
        "size_px": size_px,
        "target_dim": sum(backbone.channels),
        "coreset_ratio": RATIO,
        "projection_dim": None,
        "reweight": True,
        "reweight_neighbours": NEIGHBOURS,
        "standardise": False,
    }
    detector = PatchCore(PatchCore.configure("paper", settings), backbone, device="cpu")
    detector.source.patches = MeanPatches()
    return detector


def patch_rows(images: Images, options: argparse.Namespace) -> Any:
    """The patch features of all training images under the common function: (N, D)."""
    from loco_tools.methods.backbones import named_backbone

    backbone = named_backbone(options.backbone, options.weights)
    return own_rows(same_function(backbone, options.size), images)


def own_rows(detector: Any, images: Images) -> Any:
    """The patch features of all training images as one of our detectors has them: (N, D)."""
    import torch

    from loco_tools.methods.batch import batches
    from loco_tools.methods.patch_features import to_rows

    with torch.inference_mode():
        size = images.train[0].shape[:2]
        parts = [
            to_rows(detector.source.extract(batch, size))
            for batch in batches(images.train, 8, "cpu")
        ]
        return torch.cat(parts)


def radius(rows: Any, bank: Any) -> float:
    """The largest distance from any row to its nearest row of the bank."""
    import torch

    from loco_tools.methods.nearest import NearestNeighbours

    with torch.inference_mode():
        return float(NearestNeighbours(bank).search(rows)[0].max())


def auroc(scores: Sequence[float], anomalous: Sequence[bool]) -> float:
    """Of image scores, all kinds of anomalies together."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(anomalous, scores))


def selection_rate(images: Images, options: argparse.Namespace) -> dict[str, Any]:
    """How many rows per second anomalib's sampler chooses, set-up not counted."""
    from anomalib.models.components import KCenterGreedy

    rows = patch_rows(images, options).clone()
    seconds, cpu = [], []
    for count in (10, options.selections + 10):
        sampler = KCenterGreedy(embedding=rows, sampling_ratio=RATIO)
        wanted, sampler.coreset_size = sampler.coreset_size, count
        began, began_cpu = time.perf_counter(), time.process_time()
        sampler.select_coreset_idxs()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    rate = options.selections / (seconds[1] - seconds[0])
    cpu_s = wanted * (cpu[1] - cpu[0]) / options.selections
    return {"rate": rate, "wanted": wanted, "seconds": wanted / rate, "cpu_s": cpu_s}


def exact_greedy(images: Images, options: argparse.Namespace) -> dict[str, Any]:
    """The plain loop, one row at a time, by the distances of the rows themselves."""
    import torch

    rows = patch_rows(images, options)
    first = int(torch.randint(len(rows), (1,), generator=torch.Generator().manual_seed(SEED)))
    half = rows.square().sum(dim=1) / 2
    count = int(RATIO * len(rows))
    began = time.perf_counter()
    with torch.inference_mode():
        chosen, nearest = [first], torch.full((len(rows),), float("inf"))
        for _ in range(count - 1):
            last = chosen[-1]
            distances = half + half[last] - rows @ rows[last]  # half of |r - c|^2
            nearest = torch.minimum(nearest, distances)
            nearest[last] = -1
            chosen.append(int(nearest.argmax()))
    seconds = time.perf_counter() - began
    return {"radius": radius(rows, rows[chosen]), "kept": len(chosen), "seconds": seconds}


def trained(method: str, side: str, options: argparse.Namespace) -> dict[str, Any]:
    """A few steps of a trained model, and its speed on a few images."""
    import statistics

    from loco_tools.benchmark.cell.cost import PeakMemory

    case = TRAINED[method]
    images = Images(options.classes[0].partition("=")[0] + f"={FEW_IMAGES}", case["size_px"])
    watch = Watch()
    with random_weights(case["network"]) as weights, PeakMemory("cpu") as memory:
        detector = make_trained(method, side, weights)
        began, began_cpu = time.perf_counter(), time.process_time()
        detector.fit(images.train, [], seed=SEED, progress=watch)
        fit_s, fit_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        list(detector.predict(images.test[:2]))
        began, began_cpu = time.perf_counter(), time.process_time()
        count = len(list(detector.predict(images.test[:FEW_IMAGES])))
        predict_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    return {
        "step_s": statistics.median(between(watch.ends)),
        "step_cpu_s": statistics.median(between(watch.cpu_ends)),
        "fit_s": fit_s,
        "fit_cpu_s": fit_cpu_s,
        "ms": 1000 * predict_s / count,
        "cpu_ms": 1000 * cpu_s / count,
        "peak_mb": memory.peak_mb,
    }


def make_trained(method: str, side: str, weights: Path | None) -> Any:
    """One of the trained models, with its published widths."""
    from loco_tools.methods import create
    from loco_tools.methods.backbones import named_backbone

    case = TRAINED[method]
    common = {"size_px": case["size_px"], "batch_size": 4, "resize": "square"}
    if side == "anomalib":
        own = {"model": case["arguments"], "max_steps": case["steps"]}
        named = {} if weights is None else {"weights": str(weights)}
        if method == "draem":
            own["model"] = {"dtd_dir": tempfile.gettempdir()}  # no pictures: its own noise
        return create(
            f"anomalib:{case['model']}",
            backbone=None,
            preset="paper",
            overrides={**common, **own, **named},
        )
    backbone = None if weights is None else named_backbone(case["network"], weights)
    settings = {**common, "steps": case["steps"]}
    return create(method, backbone=backbone, preset="paper", overrides=settings)


@contextmanager
def random_weights(network: str | None) -> Iterator[Path | None]:
    """A file of random weights of a torchvision network, the same every time."""
    if network is None:
        yield None
        return
    import torch
    from torchvision import models

    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{network}.pth"
        torch.save(models.get_model(network, weights=None).state_dict(), path)
        yield path


class Watch:
    """A progress that notes when every training step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.cpu_ends: list[float] = []

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Any]:
        """See `loco_tools.progress.Progress`."""
        del total
        training = description.endswith("training")
        yield lambda steps: self.end() if training and steps else None

    def end(self) -> None:
        """Note the clock and the processor's time."""
        self.ends.append(time.perf_counter())
        self.cpu_ends.append(time.process_time())

    def note(self, message: str) -> None:
        """See `loco_tools.progress.Progress`."""


def between(ends: list[float]) -> list[float]:
    """Seconds of all steps but the first."""
    return [b - a for a, b in pairwise(ends)]


if __name__ == "__main__":
    main()
