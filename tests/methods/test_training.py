from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from loco_tools.errors import MethodError
from loco_tools.methods import training
from loco_tools.methods.training import Loss, Training, epoch_batches, steps_per_epoch
from loco_tools.progress import SILENT

Step = Callable[[int, torch.Generator], Loss]


def make_training(
    *, seed: int = 0, steps: int = 12, validate: bool = False
) -> tuple[Training, Step]:
    """A small network with batch norm that learns the sum of its inputs."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    adam = torch.optim.AdamW(net.parameters(), lr=0.05)

    def step(number: int, generator: torch.Generator) -> Loss:
        x = torch.randn(16, 4, generator=generator)
        squares = (net(x)[:, 0] - x.sum(dim=1)).square()
        return {"first": squares[:8].sum() / 16, "second": squares[8:].sum() / 16}

    made = Training(
        title="sums",
        modules={"net": net},
        optimisers={"adam": adam},
        steps=steps,
        steps_per_epoch=5,
        seed=seed,
        rate=lambda number: 1.0 - number / 100,
        validate=(lambda: float(net(torch.ones(1, 4)))) if validate else None,
    )
    return made, step


def breaking(step: Step, at: int) -> Step:
    def broken(number: int, generator: torch.Generator) -> Loss:
        if number == at:
            raise KeyboardInterrupt
        return step(number, generator)

    return broken


def weights(made: Training) -> list[Tensor]:
    return [value.clone() for value in made.modules["net"].state_dict().values()]


def test_the_loss_falls_and_every_epoch_is_logged() -> None:
    made, step = make_training(steps=62, validate=True)
    log = made.run(step, progress=SILENT)
    assert [entry["epoch"] for entry in log] == list(range(1, 14))
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert all("validation" in entry for entry in log)
    assert not made.modules["net"].training


def interrupt(kept: Path, at: int, seed: int = 0) -> None:
    """Leave the state of a training that was interrupted in its step `at`."""
    stopped, step = make_training(seed=seed)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(breaking(step, at), progress=SILENT, keep=kept)


@pytest.mark.parametrize("at", [3, 5, 11])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_EVERY_S", 0.0)
    whole, step = make_training()
    expected = whole.run(step, progress=SILENT)

    interrupt(tmp_path / "kept", at)
    resumed, step = make_training()
    seen: list[int] = []

    def counted(number: int, generator: torch.Generator) -> Loss:
        seen.append(number)
        return step(number, generator)

    log = resumed.run(counted, progress=SILENT, keep=tmp_path / "kept")
    assert seen == list(range(at, 12))
    assert log == expected
    for one, other in zip(weights(resumed), weights(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not (tmp_path / "kept").exists()


def test_the_log_has_the_parts_whose_sum_the_loss_is_and_the_scheduled_rate() -> None:
    made, step = make_training(steps=12)
    log = made.run(step, progress=SILENT)
    assert [entry["step"] for entry in log] == [5, 10, 12]
    for entry in log:
        assert entry["loss/first"] + entry["loss/second"] == pytest.approx(entry["loss"])
    rates = [0.05 * (1 - number / 100) for number in (4, 9, 11)]
    assert [entry["learning_rate"] for entry in log] == pytest.approx(rates)


def test_a_state_of_another_layout_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_EVERY_S", 0.0)
    interrupt(tmp_path / "kept", 7)
    monkeypatch.setattr(training, "_LAYOUT", training._LAYOUT + 1)
    fresh, step = make_training()
    expected, same_step = make_training()
    assert fresh.run(step, progress=SILENT, keep=tmp_path / "kept") == expected.run(
        same_step, progress=SILENT
    )


def test_a_state_of_another_seed_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_EVERY_S", 0.0)
    interrupt(tmp_path / "kept", 7, seed=1)
    fresh, step = make_training()
    expected, same_step = make_training()
    assert fresh.run(step, progress=SILENT, keep=tmp_path / "kept") == expected.run(
        same_step, progress=SILENT
    )


def test_a_damaged_state_is_an_error_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_EVERY_S", 0.0)
    interrupt(tmp_path / "kept", 7)
    (tmp_path / "kept" / "training.safetensors").write_bytes(b"torn")
    again, step = make_training()
    with pytest.raises(MethodError, match=r"got a damaged one .*next step: remove that folder"):
        again.run(step, progress=SILENT, keep=tmp_path / "kept")


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    made, _ = make_training()
    with pytest.raises(MethodError, match="sums: the loss of step 1 is nan"):
        made.run(lambda _number, _generator: torch.tensor(float("nan")), progress=SILENT)


def test_a_pass_shows_every_image_once_in_an_order_of_its_own() -> None:
    batches = epoch_batches(10, 4, seed=3)
    first = [batches(n) for n in range(3)]
    second = [batches(n) for n in range(3, 6)]
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(10))
    assert first != second
    assert first == [epoch_batches(10, 4, seed=3)(n) for n in range(3)]


def test_the_smaller_last_batch_is_left_out_unless_it_is_the_only_one() -> None:
    assert steps_per_epoch(10, 4, drop_last=True) == 2
    assert steps_per_epoch(3, 4, drop_last=True) == 1
    assert len(epoch_batches(3, 4, seed=0, drop_last=True)(5)) == 3
