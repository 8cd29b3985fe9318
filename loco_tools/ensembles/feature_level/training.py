"""Training the discriminator of a feature-level ensemble on rows of fused features.

This is SimpleNet's training (Liu et al. 2023, equations 3 to 5) with a third kind of row: besides
good features and good features with noise, it uses features of patches that lie in synthetic
anomalies. Noise on features is the same in all directions; an anomaly in the image moves the
features in the directions in which real anomalies move them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field as Setting
from torch import Tensor

from loco_tools.methods.simplenet import Discriminator
from loco_tools.methods.training import LogEntry, Loss, Training
from loco_tools.progress import Progress
from loco_tools.schema import Schema
from loco_tools.synthesis.perlin import perlin_noise

Noise = Literal["gaussian", "simplex"]

_OCTAVES = ((4, 1.0), (8, 0.8), (16, 0.64))
"""Cells per side and amplitude (persistence 0.8, Wyatt et al. 2022, AnoDDPM)."""
_GRID = (64, 64)
_FIELDS = 32
_STEPS_PER_EPOCH = 25
_GOOD = ("good", "beside")
"""Kinds of rows that are labelled good, by their names in the training log ("beside": outside)."""


@dataclass(frozen=True)
class FusedRows:
    """Rows (N, D) of fused features.

    Attributes:
        good: rows of good images.
        anomalous: rows of patches in synthetic anomalies; may be empty.
        outside: rows of patches of the same images outside of the anomalies; may be empty.
        held_out: rows of good images that are not trained on, for the log; may be empty.
    """

    good: Tensor
    anomalous: Tensor
    outside: Tensor
    held_out: Tensor


class FusedTraining(Schema):
    """Settings of the discriminator's training."""

    steps: int = Setting(default=1000, ge=1)
    step_rows: int = Setting(default=2048, ge=2)
    """Good rows per step. Noisy rows, anomalous rows and rows outside of anomalies are half as many
    each."""
    lr: float = Setting(default=1e-3, gt=0)
    margin: float = Setting(default=0.5, gt=0)
    weight_decay: float = Setting(default=0.01, ge=0)
    noise: Noise = "gaussian"
    noise_scale: Literal["absolute", "relative"] = "relative"
    """"relative": `noise_std` is multiplied by the root mean square of the adapted features before
    training."""
    noise_std: float = Setting(default=1.0, gt=0)


def train_on_rows(
    discriminator: Discriminator,
    rows: FusedRows,
    how: FusedTraining,
    *,
    seed: int,
    progress: Progress,
    title: str,
    keep: Path | None = None,
) -> list[LogEntry]:
    """Train a discriminator to separate good rows from noisy and anomalous ones, in place.

    Every step draws `how.step_rows` good rows, half as many rows with noise and, where there are
    anomalies, half as many anomalous rows and rows outside of anomalies.

    Returns:
        one log entry per 25 steps, see `Training.run`: the loss with a part for every kind of row,
        and in some entries "validation", the loss of good rows on held-out ones.
    """
    std = how.noise_std
    if how.noise_scale == "relative":
        with torch.no_grad():
            adapted = discriminator.adaptor(rows.good[:4096])
            std = std * float(adapted.square().mean().sqrt())

    def step(_number: int, generator: torch.Generator) -> Loss:
        good = discriminator.adaptor(_draw(rows.good, how.step_rows, generator))
        noisy = good[: how.step_rows // 2]
        noisy = noisy + std * noise_of(how.noise, noisy, generator)
        parts = {"good": good, "noisy": noisy}
        if len(rows.anomalous):
            for name, kind in (("anomalous", rows.anomalous), ("beside", rows.outside)):
                if len(kind):
                    drawn = _draw(kind, how.step_rows // 2, generator)
                    parts[name] = discriminator.adaptor(drawn)
        normality = discriminator(torch.cat([*parts.values()]))
        outputs = normality.split([len(part) for part in parts.values()])
        return {
            name: _hinge(output if name in _GOOD else -output, how.margin)
            for name, output in zip(parts, outputs, strict=True)
        }

    def validate() -> float:
        return float(_hinge(discriminator(discriminator.adaptor(rows.held_out)), how.margin))

    optimiser = torch.optim.AdamW(
        discriminator.parameters(), lr=how.lr, weight_decay=how.weight_decay
    )
    return Training(
        title=title,
        modules={"discriminator": discriminator},
        optimisers={"all": optimiser},
        steps=how.steps,
        steps_per_epoch=_STEPS_PER_EPOCH,
        seed=seed,
        validate=validate if len(rows.held_out) else None,
    ).run(step, progress=progress, keep=keep)


def noise_of(kind: Noise, like: Tensor, generator: torch.Generator) -> Tensor:
    """Noise (N, D) with standard deviation 1 per entry.

    "simplex" is smooth noise of several octaves, as AnoDDPM adds it to pixels: 32 smooth fields are
    read at random locations and mixed into channels, so that rows from nearby locations share a
    direction. Deviation: Perlin noise with the same octaves stands for simplex noise.
    """
    if kind == "gaussian":
        return torch.randn(like.shape, generator=generator).to(like.device)
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    fields = np.zeros((_FIELDS, *_GRID), np.float32)
    for number in range(_FIELDS):
        for cells, amplitude in _OCTAVES:
            octave = perlin_noise(_GRID, (cells, cells), rng)
            fields[number] += np.float32(amplitude) * octave
    locations = rng.integers(fields[0].size, size=len(like))
    values = torch.from_numpy(fields.reshape(_FIELDS, -1)[:, locations].T.copy())
    mix = torch.randn(_FIELDS, like.shape[1], generator=generator) / _FIELDS**0.5
    mixed: Tensor = (values @ mix).to(like.device)
    return mixed / mixed.square().mean().sqrt().clamp_min(1e-6)


def _draw(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(len(rows), (count,), generator=generator)
    return rows[chosen.to(rows.device)]


def _hinge(normality: Tensor, margin: float) -> Tensor:
    """Mean of max(0, margin - normality), equation 4."""
    loss: Tensor = (margin - normality).clamp_min(0).mean()
    return loss
