"""Training the discriminator of a feature-level ensemble on rows of fused features.

SimpleNet's (Liu et al. 2023, equations 3 to 5) with a third kind of row: besides good features and
the same with noise, features of patches that lie in synthetic anomalies made in the images.
Feature noise alone looks in all directions alike; an anomaly in the image moves features the way
that anomalies do.
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
from loco_tools.synthesis.perlin import Field, perlin_noise

Noise = Literal["gaussian", "simplex"]

_OCTAVES = ((4, 1.0), (8, 0.8), (16, 0.64))
"""Cells per side and amplitude (persistence 0.8, Wyatt et al. 2022, AnoDDPM)."""
_GRID = (64, 64)
_FIELDS = 32
_STEPS_PER_EPOCH = 25
_GOOD = ("good", "beside")
"""Rows that the discriminator is to find good."""


@dataclass(frozen=True)
class FusedRows:
    """Rows (N, D) of fused features.

    Attributes:
        good: of good images.
        anomalous: of patches in synthetic anomalies; may be empty.
        beside: of patches of the same images outside of the anomalies, as many as wanted.
        held_out: of good images that nothing was trained on, for the log; may be empty.
    """

    good: Tensor
    anomalous: Tensor
    beside: Tensor
    held_out: Tensor


class FusedTraining(Schema):
    """How the discriminator learns."""

    steps: int = Setting(default=1000, ge=1)
    step_rows: int = Setting(default=2048, ge=2)
    """Good rows per step; there are as many of noisy, anomalous and neighbouring ones together
    and half."""
    lr: float = Setting(default=1e-3, gt=0)
    margin: float = Setting(default=0.5, gt=0)
    weight_decay: float = Setting(default=0.01, ge=0)
    noise: Noise = "gaussian"
    noise_scale: Literal["absolute", "relative"] = "relative"
    """"relative": times the root mean square of the adapted features before training."""
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
    """Teach a discriminator to tell good rows from noisy and from synthetic ones; in place.

    Every step draws `how.step_rows` good rows, half as many with noise, and, where there are
    anomalies, half as many of these and of what lies beside them.

    Returns:
        one entry per 25 steps, see `Training.run`: the loss with a part for every kind of row, and
        here and there validation, its good side on held-out rows.
    """
    with torch.no_grad():
        scale = _scale(discriminator, rows.good) if how.noise_scale == "relative" else 1.0
    std = how.noise_std * scale

    def step(_number: int, generator: torch.Generator) -> Loss:
        good = discriminator.adaptor(_draw(rows.good, how.step_rows, generator))
        noisy = good[: how.step_rows // 2]
        noisy = noisy + std * noise_of(how.noise, noisy, generator)
        parts = {"good": good, "noisy": noisy}
        if len(rows.anomalous):
            for name, kind in (("anomalous", rows.anomalous), ("beside", rows.beside)):
                if len(kind):
                    drawn = _draw(kind, how.step_rows // 2, generator)
                    parts[name] = discriminator.adaptor(drawn)
        normality = discriminator(torch.cat([*parts.values()]))
        judged = normality.split([len(part) for part in parts.values()])
        return {
            name: (_good_side if name in _GOOD else _bad_side)(one, how.margin)
            for name, one in zip(parts, judged, strict=True)
        }

    def validate() -> float:
        normality = discriminator(discriminator.adaptor(rows.held_out))
        return float(_good_side(normality, how.margin))

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
    """(N, D) noise of deviation 1 per entry.

    "simplex" is coherent noise of several octaves, as AnoDDPM adds it to pixels: smooth fields,
    mixed into channels, read at random places; rows that are near share a direction. Drawn as
    Perlin noise with the same law of octaves.
    """
    if kind == "gaussian":
        return torch.randn(like.shape, generator=generator).to(like.device)
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    fields = np.stack([_coherent(rng) for _ in range(_FIELDS)])
    places = rng.integers(fields[0].size, size=len(like))
    read = torch.from_numpy(fields.reshape(_FIELDS, -1)[:, places].T.copy())
    mix = torch.randn(_FIELDS, like.shape[1], generator=generator) / _FIELDS**0.5
    mixed: Tensor = (read @ mix).to(like.device)
    return mixed / mixed.square().mean().sqrt().clamp_min(1e-6)


def _coherent(rng: np.random.Generator) -> Field:
    field: Field = np.zeros(_GRID, np.float32)
    for cells, amplitude in _OCTAVES:
        field += np.float32(amplitude) * perlin_noise(_GRID, (cells, cells), rng)
    return field


def _scale(discriminator: Discriminator, rows: Tensor) -> float:
    adapted = discriminator.adaptor(rows[:4096])
    return float(adapted.square().mean().sqrt())


def _draw(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(len(rows), (count,), generator=generator)
    return rows[chosen.to(rows.device)]


def _good_side(normality: Tensor, margin: float) -> Tensor:
    side: Tensor = (margin - normality).clamp_min(0).mean()
    return side


def _bad_side(normality: Tensor, margin: float) -> Tensor:
    side: Tensor = (margin + normality).clamp_min(0).mean()
    return side
