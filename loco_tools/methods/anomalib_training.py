"""Training of anomalib's models by Lightning, on images that are in memory; needs the extra."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from anomalib.data import ImageBatch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from loco_tools.progress import Progress

EPOCHS = 100
"""Of models that say nothing themselves."""


class ImageData(LightningDataModule):
    """Good images as anomalib's models expect them, attributes of its data modules included."""

    name = "loco_tools"
    category = ""

    def __init__(self, train: Tensor, validation: Tensor, batch_size: int) -> None:
        """Both (N, 3, h, w) uint8."""
        super().__init__()
        self.train_batch_size = self.eval_batch_size = min(batch_size, len(train))
        self._train, self._validation = train, validation

    def train_dataloader(self) -> Any:
        """Shuffled; a smaller last batch is left out, as batch norms fail on a single image."""
        return self._loader(self._train, shuffle=True)

    def val_dataloader(self) -> Any:
        """The validation images; without any, the training images: some models need statistics."""
        return self._loader(self._validation if len(self._validation) else self._train)

    def _loader(self, images: Tensor, *, shuffle: bool = False) -> Any:
        return DataLoader(
            TensorDataset(images),
            batch_size=self.train_batch_size,
            shuffle=shuffle,
            drop_last=False,
            collate_fn=_collate,
        )


def _collate(samples: Sequence[tuple[Tensor, ...]]) -> Any:
    images = torch.stack([image for (image,) in samples]).float() / 255  # (B, 3, h, w)
    return ImageBatch(
        image=images,
        gt_label=torch.zeros(len(images), dtype=torch.bool),
        gt_mask=torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool),
    )


class Reporting(Callback):
    """Progress per batch, and the mean loss of every epoch into the training log."""

    def __init__(self, title: str, progress: Progress, log: list[dict[str, float]]) -> None:
        self._title, self._progress, self._log = title, progress, log
        self._losses: list[float] = []
        self._task: Any = None
        self._advance: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the bar."""
        del pl_module
        steps = int(trainer.estimated_stepping_batches)
        self._task = self._progress.task(f"{self._title}: training", steps)
        self._advance = self._task.__enter__()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar; keep the loss."""
        del trainer, pl_module, batch, batch_idx
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self._losses.append(float(loss.detach()))
        self._advance(1)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the epoch's mean loss down."""
        del pl_module
        if self._losses:
            mean = sum(self._losses) / len(self._losses)
            self._log.append({"epoch": float(trainer.current_epoch), "loss": mean})
            self._losses = []

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Close the bar, after a failure too."""
        del trainer, pl_module, stage
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the bar."""
        del trainer, pl_module, exception
        self._close()

    def _close(self) -> None:
        if self._task is not None:
            self._task.__exit__(None, None, None)
            self._task = None


def make_trainer(
    wanted: Mapping[str, Any],
    *,
    device: torch.device,
    callbacks: Sequence[Callback],
    max_epochs: int | None,
    max_steps: int | None,
) -> Any:
    """A Trainer that keeps no files, with the arguments that the model wants.

    A model's own epochs and steps hold, except where fewer are asked for.
    """
    steps = [n for n in (wanted.get("max_steps"), max_steps) if n is not None and n > 0]
    epochs = max_epochs or wanted.get("max_epochs") or EPOCHS
    arguments = {
        "accelerator": "gpu" if device.type == "cuda" else "cpu",
        "devices": [device.index or 0] if device.type == "cuda" else 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "inference_mode": False,
        "num_sanity_val_steps": 0,
        "callbacks": list(callbacks),
        **wanted,
        "max_epochs": epochs,
        "max_steps": min(steps) if steps else -1,
    }
    return Trainer(**arguments)
