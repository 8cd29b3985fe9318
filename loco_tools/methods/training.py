"""A training loop that can be interrupted at any moment and resumed with the same result.

All randomness of a step comes from the seed and the step's number, so the state consists of the
parameters, the optimisers' moments and the number of steps done. It is saved as safetensors and
JSON; reading it executes no code. A CPU rounds sums over another number of threads differently:
a state is resumed only with the number that it was saved with, otherwise the training begins anew.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loco_tools import files
from loco_tools.errors import MethodError
from loco_tools.methods.checkpoint import digest_with
from loco_tools.progress import Progress
from loco_tools.schema import loads_json
from loco_tools.wording import printable

LogEntry = dict[str, float]

Loss = Tensor | Mapping[str, Tensor]
"""A loss, or its summands by name."""

_STATE = "training.safetensors"
_LOG = "training.json"
_SAVE_EVERY_S = 30.0
_LAYOUT = 3
"""Version of the saved state; one of another layout is not resumed."""
_STREAM = 1_000_003
"""Multiplier that gives different steps and seeds different random streams."""


@dataclass
class Training:
    """The networks to train, their optimisers, and the schedule.

    Attributes:
        title: name in the progress bar.
        modules: the networks by name; their parameters and buffers are the state.
        optimisers: by name, over parameters of `modules`.
        steps: total number of training steps.
        steps_per_epoch: number of steps after which the log gets an entry.
        seed: seed of all random numbers, see `step_generator`.
        rate: learning rates are the optimisers' own times rate(step); None: constant.
        validate: a value on good validation images, computed about `validations` times in all and
            at the end; "validation" in the log.
        clip_norm: gradients of all modules together are clipped to this norm.
    """

    title: str
    modules: Mapping[str, nn.Module]
    optimisers: Mapping[str, Optimizer]
    steps: int
    steps_per_epoch: int
    seed: int
    rate: Callable[[int], float] | None = None
    validate: Callable[[], float] | None = None
    validations: int = 20
    clip_norm: float | None = None

    def run(
        self,
        step: Callable[[int, torch.Generator], Loss],
        *,
        progress: Progress,
        keep: Path | None = None,
    ) -> list[LogEntry]:
        """Train by minimising the loss that `step(number, generator)` returns.

        Args:
            step: computes the loss of one step, or its parts; all its random numbers come from the
                generator (on the CPU).
            progress: advanced with every step.
            keep: folder in which the state is saved every half minute and from which an interrupted
                training is resumed; removed at the end. None: nothing is saved.

        Returns:
            One entry per epoch: epoch, step (number of steps done), loss and "loss/PART" for each
            of its parts (means over the epoch's steps), learning_rate at its end where there is a
            `rate`, and perhaps validation.

        Raises:
            MethodError: the loss is not finite, or the saved state is damaged.
        """
        log, losses = self._load_state(keep)
        done = len(log) * self.steps_per_epoch + len(losses)
        base = {name: [g["lr"] for g in opt.param_groups] for name, opt in self.optimisers.items()}
        self._set_mode(training=True)
        saved = time.monotonic()
        with progress.task(f"{self.title}: training", self.steps) as advance:
            advance(done)
            for number in range(done, self.steps):
                losses.append(self._step(step, number, base))
                if (number + 1) % self.steps_per_epoch == 0 or number + 1 == self.steps:
                    log.append(self._log_entry(len(log) + 1, number + 1, losses))
                    losses = []
                if keep is not None and time.monotonic() - saved > _SAVE_EVERY_S:
                    self._save_state(keep, log, losses)
                    saved = time.monotonic()
                advance(1)
        self._set_mode(training=False)
        if keep is not None:
            for name in (_LOG, _STATE):
                (keep / name).unlink(missing_ok=True)
            if keep.is_dir() and not any(keep.iterdir()):
                keep.rmdir()
        return log

    def _step(
        self,
        step: Callable[[int, torch.Generator], Loss],
        number: int,
        base: Mapping[str, list[float]],
    ) -> LogEntry:
        """Take one step and return the loss and its parts from before it."""
        for name, optimiser in self.optimisers.items():
            optimiser.zero_grad(set_to_none=True)
            if self.rate is not None:
                for group, lr in zip(optimiser.param_groups, base[name], strict=True):
                    group["lr"] = lr * self.rate(number)
        result = step(number, step_generator(self.seed, number))
        loss = total(result)
        parts = {} if isinstance(result, Tensor) else result
        names = ["loss", *(f"loss/{name}" for name in parts)]
        tensors = [one.detach().float() for one in (loss, *parts.values())]
        values = dict(zip(names, torch.stack(tensors).tolist(), strict=True))  # one device read
        if not math.isfinite(values["loss"]):
            raise MethodError(
                f"{self.title}: the loss of step {number + 1} is {values['loss']}; expected a "
                "finite number; next step: a lower learning rate"
            )
        torch.autograd.backward(loss)
        if self.clip_norm is not None:
            every = [p for module in self.modules.values() for p in module.parameters()]
            nn.utils.clip_grad_norm_(every, self.clip_norm)
        for optimiser in self.optimisers.values():
            optimiser.step()
        return values

    def _log_entry(self, epoch: int, step: int, losses: list[LogEntry]) -> LogEntry:
        """The entry of an epoch: means over its steps, learning rates, and perhaps validation."""
        entry: LogEntry = {"epoch": epoch, "step": step}
        for name in dict.fromkeys(name for values in losses for name in values):
            values = [one[name] for one in losses if name in one]
            entry[name] = sum(values) / len(values)
        if self.rate is not None:
            rates = {name: opt.param_groups[0]["lr"] for name, opt in self.optimisers.items()}
            for name, rate in rates.items():
                key = "learning_rate" if len(rates) == 1 else f"learning_rate/{name}"
                entry[key] = float(rate)
        epochs = math.ceil(self.steps / self.steps_per_epoch)
        due = step == self.steps or epoch % max(1, epochs // self.validations) == 0
        if self.validate is not None and due:
            self._set_mode(training=False)
            with torch.inference_mode():
                entry["validation"] = self.validate()
            self._set_mode(training=True)
        return entry

    def _set_mode(self, *, training: bool) -> None:
        for module in self.modules.values():
            module.train(training)

    def _save_state(self, folder: Path, log: list[LogEntry], losses: list[LogEntry]) -> None:
        """Write parameters, buffers, optimiser states and the log, replacing the folder."""
        from safetensors.torch import save

        tensors = {
            f"module.{name}.{key}": value
            for name, module in self.modules.items()
            for key, value in module.state_dict().items()
        }
        for name, optimiser in self.optimisers.items():
            for number, state in optimiser.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimiser.{name}.{number}.{key}"] = torch.as_tensor(value)
        content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
        record = {"made_of": self._identity(), "log": log, "losses": losses}
        record["sha256"] = digest_with(record, content)
        with files.folder_swapped_in(folder) as fresh:
            files.write_bytes(fresh / _STATE, content)
            files.write_json(fresh / _LOG, record)

    def _identity(self) -> dict[str, Any]:
        """The facts that a saved state must share with this training to be resumed."""
        parameters = sum(p.numel() for m in self.modules.values() for p in m.parameters())
        return {
            "layout": _LAYOUT,
            "title": self.title,
            "seed": self.seed,
            "steps": self.steps,
            "steps_per_epoch": self.steps_per_epoch,
            "parameters": parameters,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }

    def _load_state(self, folder: Path | None) -> tuple[list[LogEntry], list[LogEntry]]:
        """Load a saved state of this training; log and losses of its unfinished epoch."""
        if folder is not None:
            files.settle(folder)
        if folder is None or not (folder / _LOG).is_file():
            return [], []
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            record = loads_json(files.read_text(folder / _LOG))
            if record["made_of"] != self._identity():
                return [], []
            content = (folder / _STATE).read_bytes()
            if record["sha256"] != digest_with(record, content):
                raise ValueError("it differs from what was saved")
            tensors = load(content)
            for name, module in self.modules.items():
                module.load_state_dict(_under(tensors, f"module.{name}."))
            for name, optimiser in self.optimisers.items():
                state: dict[int, dict[str, Tensor]] = {}
                for key, value in _under(tensors, f"optimiser.{name}.").items():
                    number, _, what = key.partition(".")
                    state.setdefault(int(number), {})[what] = value
                groups = optimiser.state_dict()["param_groups"]
                optimiser.load_state_dict({"state": state, "param_groups": groups})
            return list(record["log"]), list(record["losses"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise MethodError(
                f"{folder}: expected an interrupted training, got a damaged one "
                f"({printable(str(error))}); "
                "next step: remove that folder to train from the start"
            ) from error


def total(loss: Loss) -> Tensor:
    """The loss as one tensor: the sum of its parts."""
    if isinstance(loss, Tensor):
        return loss
    first, *others = loss.values()
    return sum(others, first)


def step_generator(seed: int, number: int) -> torch.Generator:
    """The random generator (on the CPU) of one step, which depends on seed and number alone."""
    return torch.Generator().manual_seed((seed * _STREAM + number) % 2**63)


def epoch_batches(
    count: int, batch_size: int, seed: int, *, drop_last: bool = False
) -> Callable[[int], list[int]]:
    """A function from the number of a step to the image indices of its batch.

    Every epoch goes through all images in a new order.

    Args:
        count: number of images.
        batch_size: images per step; the last batch of an epoch may be smaller.
        seed: seed of the orders.
        drop_last: leave that smaller batch out, unless it is the only one.
    """
    per_epoch = steps_per_epoch(count, batch_size, drop_last=drop_last)

    def of_step(number: int) -> list[int]:
        epoch, batch = divmod(number, per_epoch)
        generator = torch.Generator().manual_seed((seed * _STREAM + ~epoch) % 2**63)
        order: list[int] = torch.randperm(count, generator=generator).tolist()
        return order[batch * batch_size : (batch + 1) * batch_size]

    return of_step


def steps_per_epoch(count: int, batch_size: int, *, drop_last: bool = False) -> int:
    """Number of batches in an epoch of `count` images, at least one."""
    whole = count // batch_size if drop_last else math.ceil(count / batch_size)
    return max(1, whole)


def prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """The state of a network with `prefix.` in front of every name."""
    return {f"{prefix}.{key}": value for key, value in module.state_dict().items()}


def load_prefixed(prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what `prefixed` returned; RuntimeError when it does not fit."""
    module.load_state_dict(_under(tensors, f"{prefix}."))


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
