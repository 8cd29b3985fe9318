"""Trains anomalib's models with Lightning's Trainer, on images in memory. Needs the extra.

Checkpoints, loggers, early stopping and validation between epochs are switched off. After the
training one validation pass over good images lets a model compute its statistics.
"""

import logging
import math
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from loco_tools.errors import MethodError
from loco_tools.progress import Advance, Progress

EPOCHS = 100
"""Number of epochs of models that define none."""
_LOGGERS = ("lightning.pytorch", "lightning.fabric", "anomalib", "timm")


def train_model(
    module: Any,
    train: Tensor,
    validation: Tensor,
    *,
    title: str,
    batch_size: int,
    device: torch.device,
    max_epochs: int | None,
    max_steps: int | None,
    progress: Progress,
) -> list[dict[str, float]]:
    """Fit a model of anomalib in place.

    Args:
        module: the LightningModule, with all components but the pre-processor switched off.
        train: (N, 3, h, w) uint8 good images.
        validation: the same; may be empty, then statistics are computed on `train`.
        title: name in progress and errors.
        batch_size: images at a time; the last batch of an epoch may be smaller.
        device: where to train.
        max_epochs: replaces the model's own number of epochs.
        max_steps: upper bound for models that learn by steps.
        progress: advanced with every batch.

    Returns:
        One entry per epoch of a model that learns by steps: epoch and mean loss.

    Raises:
        MethodError: the model's own code failed.
    """
    data = _image_data(train, validation, batch_size)
    wanted = dict(module.trainer_arguments)
    epochs = max_epochs or wanted.get("max_epochs") or EPOCHS
    steps = [n for n in (wanted.get("max_steps"), max_steps) if n and n > 0]
    bound = -1 if _is_bank(module) or not steps else min(steps)
    batches = epochs * math.ceil(len(train) / batch_size)
    log: list[dict[str, float]] = []
    arguments = {
        **wanted,
        "accelerator": "gpu" if device.type == "cuda" else "cpu",
        "devices": [device.index or 0] if device.type == "cuda" else 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "inference_mode": False,
        "num_sanity_val_steps": 0,
        "max_epochs": epochs,
        "max_steps": bound,
    }
    with (
        _explain_errors(title),
        progress.task(
            f"{title}: training", batches if bound < 0 else min(batches, bound)
        ) as advance,
    ):
        if module.learning_type.value == "one_class":
            _trainer(
                arguments, limit_val_batches=0, callbacks=[_progress_callback(advance, log)]
            ).fit(module, datamodule=data)
        # Models prepare for prediction in the hooks of this pass; its batch has no other effect.
        _trainer(arguments, limit_val_batches=1).validate(module, datamodule=data, verbose=False)
    return [] if _is_bank(module) else log


def _is_bank(module: Any) -> bool:
    """Whether the model stores features instead of learning by steps."""
    from anomalib.models.components import MemoryBankMixin

    return isinstance(module, MemoryBankMixin)


def _trainer(arguments: Mapping[str, Any], **more: Any) -> Any:
    from lightning.pytorch import Trainer

    return Trainer(**arguments, **more)


def _image_data(train: Tensor, validation: Tensor, batch_size: int) -> Any:
    """A data module of good images with the attributes that the models read."""
    from lightning.pytorch import LightningDataModule
    from torch.utils.data import DataLoader, TensorDataset

    size = min(batch_size, len(train))

    def loader(images: Tensor, *, shuffle: bool) -> Any:
        return DataLoader(
            TensorDataset(images), batch_size=size, shuffle=shuffle, collate_fn=_collate
        )

    class ImageData(LightningDataModule):  # type: ignore[misc]  # it is unknown without the extra
        name = "loco_tools"
        category = "object"
        train_batch_size = eval_batch_size = size

        def train_dataloader(self) -> Any:
            return loader(train, shuffle=True)

        def val_dataloader(self) -> Any:
            return loader(validation if len(validation) else train, shuffle=False)

    return ImageData()


def _collate(samples: Sequence[tuple[Tensor, ...]]) -> Any:
    from anomalib.data import ImageBatch

    images = torch.stack([image for (image,) in samples]).float() / 255  # (B, 3, h, w)
    return ImageBatch(
        image=images,
        gt_label=torch.zeros(len(images), dtype=torch.bool),
        gt_mask=torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool),
    )


def _progress_callback(advance: Advance, log: list[dict[str, float]]) -> Any:
    """A callback that advances progress with every batch and logs the mean loss of every epoch."""
    from lightning.pytorch.callbacks import LambdaCallback

    losses: list[float] = []

    def after_batch(_trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        given = outputs.values() if isinstance(outputs, Mapping) else [outputs]
        losses.extend(float(loss.detach().mean()) for loss in [*given][:1] if loss is not None)
        advance(1)

    def after_epoch(*_: Any) -> None:
        if losses:
            log.append({"epoch": len(log) + 1.0, "loss": sum(losses) / len(losses)})
            losses.clear()

    return LambdaCallback(on_train_batch_end=after_batch, on_train_epoch_end=after_epoch)


@contextmanager
def _explain_errors(title: str) -> Iterator[None]:
    """Turn errors of the models' own code into MethodErrors and restore Ctrl-C.

    Lightning reacts to Ctrl-C by ignoring the signal from then on and exiting the program.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main_thread else None
    try:
        yield
    except MethodError:
        raise
    except SystemExit as error:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error
    except Exception as error:  # whatever a model raises
        text = " ".join(str(error).split())[:300]
        raise MethodError(
            f"{title}: the model's own training failed ({type(error).__name__}: {text}); next "
            "step: put a missing file where it is expected, or try other settings of the model "
            f"({title}.model), --resize square, or another --size"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence advice on loaders and hardware, and deprecation warnings inside anomalib."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
