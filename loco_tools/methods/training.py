"""A training loop that can be stopped at any moment and goes on as if it had not been.

Everything random in a step comes from the seed and the step's number alone, so the state to keep
is the parameters, the optimisers' moments and the number of steps done. It is kept as safetensors
and JSON; reading it executes nothing.
"""

import json
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
from loco_tools.progress import Progress

LogEntry = dict[str, float]

Loss = Tensor | Mapping[str, Tensor]
"""A loss, or by name the parts whose sum it is."""

_STATE = "training.safetensors"
_LOG = "training.json"
_SAVE_EVERY_S = 30.0
_LAYOUT = 2
"""Of a kept state; one of another layout is not taken up."""
_STREAM = 1_000_003
"""Keeps the streams of different steps and seeds apart."""


@dataclass
class Training:
    """What is trained, and how long.

    Attributes:
        title: whom the progress bar names.
        modules: the networks by name; their parameters and buffers are the state.
        optimisers: by name, over parameters of `modules`.
        steps: training steps in all.
        steps_per_epoch: after so many the log gets an entry.
        seed: of everything random, see `generator`.
        rate: learning rates are the optimisers' own times rate(step); None: constant.
        validate: a figure on good validation images, asked for about `validations` times in all
            and at the end; the log calls it "validation".
        clip_norm: gradients of all modules together are scaled down to this norm.
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
        """Train: `step(number, generator)` gives the loss or its parts; the loss is stepped down.

        Args:
            step: computes the loss of one step; draws from the generator (on the CPU) only.
            progress: told about every step.
            keep: a folder in which the state is kept every half minute and from which it is
                taken up again; removed when the training is finished. None: nothing is kept.

        Returns:
            one entry per epoch: epoch, step (how many are done), loss and "loss/PART" for each of
            its parts (means over the epoch's steps), learning_rate at its end where there is a
            `rate`, and perhaps validation.

        Raises:
            MethodError: the loss is no finite number, or the kept state is damaged.
        """
        log, losses = self._resume(keep)
        done = len(log) * self.steps_per_epoch + len(losses)
        base = {name: [g["lr"] for g in opt.param_groups] for name, opt in self.optimisers.items()}
        self._train(True)
        saved = time.monotonic()
        with progress.task(f"{self.title}: training", self.steps) as advance:
            advance(done)
            for number in range(done, self.steps):
                losses.append(self._step(step, number, base))
                if (number + 1) % self.steps_per_epoch == 0 or number + 1 == self.steps:
                    log.append(self._entry(len(log) + 1, number + 1, losses))
                    losses = []
                if keep is not None and time.monotonic() - saved > _SAVE_EVERY_S:
                    self._keep(keep, log, losses)
                    saved = time.monotonic()
                advance(1)
        self._train(False)
        if keep is not None:
            forget(keep)
        return log

    def _step(
        self,
        step: Callable[[int, torch.Generator], Loss],
        number: int,
        base: Mapping[str, list[float]],
    ) -> LogEntry:
        """Take one step; the loss and its parts before it."""
        for name, optimiser in self.optimisers.items():
            optimiser.zero_grad(set_to_none=True)
            if self.rate is not None:
                for group, lr in zip(optimiser.param_groups, base[name], strict=True):
                    group["lr"] = lr * self.rate(number)
        found = step(number, step_generator(self.seed, number))
        loss = total(found)
        values = _values(loss, {} if isinstance(found, Tensor) else found)
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

    def _entry(self, epoch: int, step: int, losses: list[LogEntry]) -> LogEntry:
        entry: LogEntry = {"epoch": epoch, "step": step, **_means(losses), **self._rates()}
        epochs = math.ceil(self.steps / self.steps_per_epoch)
        due = step == self.steps or epoch % max(1, epochs // self.validations) == 0
        if self.validate is not None and due:
            self._train(False)
            with torch.inference_mode():
                entry["validation"] = self.validate()
            self._train(True)
        return entry

    def _rates(self) -> LogEntry:
        """The learning rates of the last step, where they are scheduled."""
        if self.rate is None:
            return {}
        rates = {name: opt.param_groups[0]["lr"] for name, opt in self.optimisers.items()}
        if len(rates) == 1:
            return {"learning_rate": float(*rates.values())}
        return {f"learning_rate/{name}": float(rate) for name, rate in rates.items()}

    def _train(self, mode: bool) -> None:
        for module in self.modules.values():
            module.train(mode)

    def _tensors(self) -> dict[str, Tensor]:
        found = {
            f"module.{name}.{key}": value
            for name, module in self.modules.items()
            for key, value in module.state_dict().items()
        }
        for name, optimiser in self.optimisers.items():
            for number, state in optimiser.state_dict()["state"].items():
                for key, value in state.items():
                    found[f"optimiser.{name}.{number}.{key}"] = torch.as_tensor(value)
        return found

    def _keep(self, folder: Path, log: list[LogEntry], losses: list[LogEntry]) -> None:
        from safetensors.torch import save

        content = {k: v.detach().cpu().contiguous() for k, v in self._tensors().items()}
        record = {"made_of": self._made_of(), "log": log, "losses": losses}
        with files.folder_swapped_in(folder) as fresh:
            files.write_bytes(fresh / _STATE, save(content))
            files.write_json(fresh / _LOG, record)

    def _made_of(self) -> dict[str, Any]:
        """What a kept state must agree in to be taken up."""
        parameters = sum(p.numel() for m in self.modules.values() for p in m.parameters())
        return {
            "layout": _LAYOUT,
            "title": self.title,
            "seed": self.seed,
            "steps": self.steps,
            "steps_per_epoch": self.steps_per_epoch,
            "parameters": parameters,
            "torch": torch.__version__,
        }

    def _resume(self, folder: Path | None) -> tuple[list[LogEntry], list[LogEntry]]:
        if folder is None or not (folder / _LOG).is_file():
            return [], []
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            record = json.loads((folder / _LOG).read_text(encoding="utf-8"))
            if record["made_of"] != self._made_of():
                return [], []
            tensors = load((folder / _STATE).read_bytes())
            self._restore(tensors)
            return list(record["log"]), list(record["losses"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise MethodError(
                f"{folder}: expected an interrupted training, got a damaged one ({error}); "
                "next step: remove that folder to train from the start"
            ) from error

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, module in self.modules.items():
            module.load_state_dict(_under(tensors, f"module.{name}."))
        for name, optimiser in self.optimisers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, f"optimiser.{name}.").items():
                number, _, what = key.partition(".")
                state.setdefault(int(number), {})[what] = value
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": state, "param_groups": groups})


def total(loss: Loss) -> Tensor:
    """The loss itself, where it is given in parts."""
    if isinstance(loss, Tensor):
        return loss
    first, *others = loss.values()
    return sum(others, first)


def _values(loss: Tensor, parts: Mapping[str, Tensor]) -> LogEntry:
    """The numbers of a step, read from the device at once."""
    names = ["loss", *(f"loss/{name}" for name in parts)]
    tensors = [one.detach().float() for one in (loss, *parts.values())]
    return dict(zip(names, torch.stack(tensors).tolist(), strict=True))


def _means(losses: list[LogEntry]) -> LogEntry:
    """Per name the mean over the steps that have it."""
    names = dict.fromkeys(name for entry in losses for name in entry)
    found = {name: [entry[name] for entry in losses if name in entry] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def step_generator(seed: int, number: int) -> torch.Generator:
    """Random numbers (on the CPU) of one step: the same whenever it is reached."""
    return torch.Generator().manual_seed((seed * _STREAM + number) % 2**63)


def epoch_batches(
    count: int, batch_size: int, seed: int, *, drop_last: bool = False
) -> Callable[[int], list[int]]:
    """The image indices of each step: passes over all images, in a new order each time.

    Args:
        count: images.
        batch_size: at a time; the last batch of a pass may be smaller.
        seed: of the orders.
        drop_last: leave that smaller batch out, unless it is the only one.
    """
    per_epoch = steps_per_epoch(count, batch_size, drop_last=drop_last)

    def of_step(number: int) -> list[int]:
        epoch, place = divmod(number, per_epoch)
        generator = torch.Generator().manual_seed((seed * _STREAM + ~epoch) % 2**63)
        order: list[int] = torch.randperm(count, generator=generator).tolist()
        return order[place * batch_size : (place + 1) * batch_size]

    return of_step


def steps_per_epoch(count: int, batch_size: int, *, drop_last: bool = False) -> int:
    """How many batches make a pass over `count` images, at least one."""
    whole = count // batch_size if drop_last else math.ceil(count / batch_size)
    return max(1, whole)


def forget(folder: Path) -> None:
    """Remove what an interrupted training has kept."""
    for name in (_LOG, _STATE):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """The state of a network with `prefix.` before every name."""
    return {f"{prefix}.{key}": value for key, value in module.state_dict().items()}


def load_prefixed(prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Take over what `prefixed` gave; RuntimeError when it does not fit."""
    module.load_state_dict(_under(tensors, f"{prefix}."))


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
