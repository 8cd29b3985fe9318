"""Speed-up by batch-norm folding, channels-last memory, and the block size of the search.

    OMP_NUM_THREADS=1 python benchmark/speed/backbones.py

The script runs torchvision's networks with random weights before and after optimisation for
inference, searches memory banks in blocks of several sizes, and makes synthetic anomalies in large
and small pictures. Alternatives are timed in turn, and the best of five rounds counts. It prints
Markdown tables.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from loco_tools.methods import nearest
from loco_tools.methods.backbones import STRIDES, random_backbone
from loco_tools.methods.backbones.torchvision import memory_layout, optimise_for_inference
from loco_tools.methods.nearest import NearestNeighbours
from loco_tools.synthesis.families import synthetic_anomalies

NAMES = ("mobilenet_v2", "squeezenet1_1", "resnet18", "efficientnet_b0", "wide_resnet50_2")
BANKS = ((43_008, 24, 500), (10_752, 128, 1_000), (10_752, 512, 4_000))
"""Queries, features per query and rows of the bank, for 8 images of 256 x 336 px."""
BLOCKS = (4_000_000, 1_000_000, 250_000)
TIMES = 5


def main() -> None:
    """Measure and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", default=NAMES)
    options = parser.parse_args()
    with torch.inference_mode():
        _backbones(options.names)
        _banks()
    _anomalies()


def _backbones(names: list[str]) -> None:
    cpu = torch.device("cpu")
    pixels = torch.randn(4, 3, 256, 336, generator=torch.Generator().manual_seed(0))
    channels_last = pixels.to(memory_format=memory_layout(cpu))
    print("\n| backbone | plain, ms/image | optimised, ms/image | speed-up | largest difference |")
    print("|---|---|---|---|---|")
    for name in names:
        net = random_backbone(name).net
        optimised = optimise_for_inference(net, cpu)
        one, other = _best_times(
            lambda net=net: net(pixels), lambda net=optimised: net(channels_last)
        )
        plain, same = net(pixels), optimised(channels_last)
        off = max(float((same[k] - plain[k]).abs().max() / plain[k].abs().max()) for k in plain)
        each = [1000 * seconds / len(pixels) for seconds in (one, other)]
        print(f"| {name} | {each[0]:.0f} | {each[1]:.0f} | {one / other:.2f} | {off:.0e} |")
    print(f"\nMaps at strides {STRIDES[0]} and {STRIDES[1]} of 256 x 336 px.")


def _banks() -> None:
    generator = torch.Generator().manual_seed(0)
    print(
        "\n| queries | features | rows | " + " | ".join(f"{b:,} floats, ms" for b in BLOCKS) + " |"
    )
    print("|---|---|---|" + "---|" * len(BLOCKS))
    for queries, dim, rows in BANKS:
        index = NearestNeighbours(torch.randn(rows, dim, generator=generator))
        queried = torch.randn(queries, dim, generator=generator)

        def search(block: int, index: NearestNeighbours = index, queried: torch.Tensor = queried):
            nearest.CPU_BLOCK_FLOATS = block
            return index.distances(queried)

        seconds = _best_times(
            *(lambda block=block, search=search: search(block) for block in BLOCKS)
        )
        print(
            f"| {queries} | {dim} | {rows} | "
            + " | ".join(f"{1000 * s:.0f}" for s in seconds)
            + " |"
        )


def _anomalies() -> None:
    noise = np.random.default_rng(0).integers(90, 110, (960, 1280, 3), dtype=np.uint8)
    noise[200:700, 300:1000] += 100

    def make(size: tuple[int, int] | None) -> list[object]:
        return list(synthetic_anomalies([noise], 1, seed=0, each=6, size=size))

    whole, small = _best_times(lambda: make(None), lambda: make((256, 336)))
    print("\n| six anomalies in 960 x 1280 px, ms | at the input size of 256 x 336 |")
    print(f"|---|---|\n| {1000 * whole:.0f} | {1000 * small:.0f} |")


def _best_times(*actions: Callable[[], object]) -> list[float]:
    """Seconds of processor time of each action, the minimum over several rounds."""
    best = [float("inf")] * len(actions)
    for _ in range(TIMES):
        for number, action in enumerate(actions):
            start = time.process_time()
            action()
            best[number] = min(best[number], time.process_time() - start)
    return best


if __name__ == "__main__":
    main()
