"""A detector that needs no training, for tests of everything around detectors."""

import errno
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from loco_tools.datasets import images
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import CutShape, PatchScores, SingleConfig, SingleDetector
from loco_tools.progress import Progress


class BrightnessConfig(SingleConfig):
    size_px: int = 32
    journal: str = ""
    """A file that gets a line at every fit."""
    fault: str = ""
    """A file that, while it exists, names the fault of every fit."""
    late_fault: str = ""
    """The same for every prediction."""
    sign: float = 1.0


class Brightness(SingleDetector):
    """Scores each place by how much brighter it is than the good images are on average."""

    name = "brightness"
    Config = BrightnessConfig
    config: BrightnessConfig
    cuts = ("grey",)
    PRESETS = {"paper": {}, "fast": {}}  # noqa: RUF012

    def _fit(
        self,
        train: Sequence[images.Pixels],
        validation: Sequence[images.Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        if self.config.journal:
            with Path(self.config.journal).open("a") as stream:
                stream.write(f"{len(train)} {len(validation)} {seed}\n")
        if self.config.fault and Path(self.config.fault).exists():
            commit_fault(Path(self.config.fault))
        self.mean = torch.tensor([float(image.mean()) for image in train]).mean()

    def score_batch(self, batch: Batch) -> PatchScores:
        if self.config.late_fault and Path(self.config.late_fault).exists():
            commit_fault(Path(self.config.late_fault))
        grey = self.config.sign * (self.cut_batch(batch, "grey")[:, 0] - self.mean / 255)
        return PatchScores(image=grey.flatten(1).amax(dim=1), patches=grey)

    def cut_shape(self, cut: str) -> CutShape:
        return CutShape(1, 1)

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        return batch.pixels(self.input_size).mean(dim=1, keepdim=True)

    def _tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean[None]}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.mean = tensors["mean"][0]


class Pixels(Brightness):
    """The same, without a backbone."""

    name = "pixels"
    needs_backbone = False


class Sure(Brightness):
    """The same, with probabilities for scores; with a negative sign it only says so."""

    probabilities = True

    def score_batch(self, batch: Batch) -> PatchScores:
        grey = self.cut_batch(batch, "grey")[:, 0].sigmoid()
        return PatchScores(image=self.config.sign * grey.flatten(1).amax(dim=1), patches=grey)


def commit_fault(fault: Path) -> None:
    """Do what the file says; "loud" and "wait" let the fit go on afterwards."""
    name = fault.read_text()
    if name == "interrupt":
        raise KeyboardInterrupt
    if name == "memory":
        raise MemoryError
    if name == "exit":
        sys.exit(0)
    if name == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "gone":
        os._exit(3)
    if name == "loud":
        print("a method that prints to standard output")
        return
    if name == "wait":
        fault.with_suffix(".reached").touch()
        while fault.exists():
            time.sleep(0.05)
        return
    raise RuntimeError(f"boom <b>{name}</b>")
