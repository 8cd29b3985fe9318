import pytest
import torch

from loco_tools.ensembles.feature_level.training import (
    FusedRows,
    FusedTraining,
    noise_of,
    train_on_rows,
)
from loco_tools.methods.simplenet import Discriminator
from loco_tools.progress import SILENT

HOW = FusedTraining(
    steps=60,
    step_rows=64,
    lr=0.01,
    margin=0.5,
    weight_decay=0.01,
    noise="gaussian",
    noise_std=1.0,
    noise_scale="relative",
)


def make_rows(*, anomalies: bool) -> FusedRows:
    generator = torch.Generator().manual_seed(0)
    good = torch.randn(600, 4, generator=generator) * torch.tensor([1.0, 1.0, 1.0, 0.05])
    shifted = good[:100] + torch.tensor([0.0, 0.0, 0.0, 0.2])  # small, in a quiet direction
    none = good[:0]
    return FusedRows(
        good=good[:500],
        anomalous=shifted if anomalies else none,
        outside=good[100:200] if anomalies else none,
        held_out=good[500:],
    )


def train(rows: FusedRows, how: FusedTraining = HOW, seed: int = 0) -> tuple[Discriminator, list]:
    discriminator = Discriminator(4, 32, torch.Generator().manual_seed(seed))
    log = train_on_rows(discriminator, rows, how, seed=seed, progress=SILENT, title="test")
    return discriminator.eval(), log


def auroc(discriminator: Discriminator) -> float:
    rows = make_rows(anomalies=True)
    with torch.no_grad():
        good = discriminator(discriminator.adaptor(rows.held_out))
        bad = discriminator(discriminator.adaptor(rows.anomalous))
    return float((good[:, None] > bad[None]).float().mean())


def test_anomalies_in_images_teach_what_noise_in_features_does_not() -> None:
    with_noise, _ = train(make_rows(anomalies=False))
    with_both, _ = train(make_rows(anomalies=True))
    assert auroc(with_both) > 0.95
    assert auroc(with_both) > auroc(with_noise) + 0.1


def test_the_loss_falls_and_held_out_rows_are_logged() -> None:
    _, log = train(make_rows(anomalies=True))
    assert log[-1]["loss"] < log[0]["loss"]
    assert "validation" in log[-1]
    assert [entry["epoch"] for entry in log] == [1, 2, 3]


def test_the_same_seed_gives_the_same_discriminator() -> None:
    one, other = train(make_rows(anomalies=True))[0], train(make_rows(anomalies=True))[0]
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["gaussian", "simplex"])
def test_noise_has_standard_deviation_one_and_comes_from_its_generator(kind: str) -> None:
    like = torch.zeros(2000, 16)
    noise = noise_of(kind, like, torch.Generator().manual_seed(3))  # type: ignore[arg-type]
    again = noise_of(kind, like, torch.Generator().manual_seed(3))  # type: ignore[arg-type]
    assert noise.shape == like.shape
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(noise, again, rtol=0, atol=0)


def test_simplex_noise_varies_in_strength_from_row_to_row() -> None:
    like = torch.zeros(2000, 64)
    norms = {
        kind: noise_of(kind, like, torch.Generator().manual_seed(1)).norm(dim=1)  # type: ignore[arg-type]
        for kind in ("gaussian", "simplex")
    }
    assert float(norms["simplex"].std()) > 1.5 * float(norms["gaussian"].std())
