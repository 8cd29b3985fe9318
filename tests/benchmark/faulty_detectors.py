"""A detector with every way in which a detector of one's own can break the contract."""

import os
import sys
from collections.abc import Callable, Sequence

import torch
from stub_detectors import Brightness, BrightnessConfig
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import PatchScores
from loco_tools.progress import Progress


def change(images: Sequence[Pixels]) -> None:
    for image in images:
        image[:] = 0


def fail() -> None:
    raise RuntimeError("boom")


def doubt() -> None:
    assert not sys.argv


def with_first(values: Tensor, value: float) -> Tensor:
    changed = values.clone()
    changed.view(-1)[0] = value
    return changed


FITS: dict[str, Callable[[Sequence[Pixels]], object]] = {
    "raises": lambda _: fail(),
    "asserts": lambda _: doubt(),
    "exits": lambda _: sys.exit(0),
    "exits with words": lambda _: sys.exit("enough"),
    "changes the folder": lambda _: os.chdir("/"),
    "changes torch": lambda _: (torch.set_default_dtype(torch.float64), torch.set_num_threads(7)),
    "changes images in fit": change,
}
SCORES: dict[str, Callable[[Tensor, Tensor], object]] = {
    "NaN score": lambda s, g: PatchScores(with_first(s, float("nan")), g),
    "NaN map": lambda s, g: PatchScores(s, with_first(g, float("nan"))),
    "infinite map": lambda s, g: PatchScores(s, with_first(g, float("inf"))),
    "overflow": lambda s, g: PatchScores(s, (g + 1) * 1e38 * 10),
    "one score": lambda s, g: PatchScores(s[:1], g),
    "twice the scores": lambda s, g: PatchScores(torch.cat([s, s]), g),
    "mean score": lambda s, g: PatchScores(s.mean(), g),
    "map with channels": lambda s, g: PatchScores(s, g[:, None]),
    "one map": lambda s, g: PatchScores(s, g[:1]),
    "empty map": lambda s, g: PatchScores(s, g[:, :0]),
    "no scores": lambda s, g: None,
    "arrays": lambda s, g: PatchScores(s.numpy(), g.numpy()),  # type: ignore[arg-type]
    "complex": lambda s, g: PatchScores(s.to(torch.complex64), g),
    "float64": lambda s, g: PatchScores(s.double(), g.double()),
    "float16": lambda s, g: PatchScores(s.half(), g.half()),
    "integers": lambda s, g: PatchScores((s * 1e6).long(), (g * 1e6).long()),
}


class FaultyConfig(BrightnessConfig):
    commits: str = ""


class Faulty(Brightness):
    """`Brightness` with the fault that its setting names."""

    name = "faulty"
    Config = FaultyConfig
    config: FaultyConfig

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        FITS.get(self.config.commits, len)(train)
        super()._fit(train, validation, seed=seed, progress=progress)

    def score_batch(self, batch: Batch) -> PatchScores:
        if self.config.commits == "changes images in prediction":
            change(batch.images)
        scores = super().score_batch(batch)
        if self.config.commits in SCORES:
            return SCORES[self.config.commits](scores.image, scores.patches)  # type: ignore[return-value]
        return scores
