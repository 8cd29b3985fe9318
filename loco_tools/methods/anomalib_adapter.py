"""Any image model of anomalib under our protocol: our splits, our validation, our metrics.

github.com/open-edge-platform/anomalib, 2.7. `--methods anomalib:Padim` names a class of
`anomalib.models`. The model's own training code runs (its optimiser, losses and memory banks);
what surrounds it is ours: images at our input size, no test data, no early stopping, no
thresholds, no normalisation of scores, raw scores and maps.
"""

import contextlib
import functools
import inspect
import logging
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from loco_tools import extras
from loco_tools.datasets.images import Pixels
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch, Size, batches, image_sizes, input_size
from loco_tools.methods.detector import CutShape, PatchScores, SingleConfig, SingleDetector
from loco_tools.progress import Progress

PREFIX = "anomalib:"
COMPONENTS = ("pre_processor", "post_processor", "evaluator", "visualizer")
CUT_STRIDE = 8


class AnomalibConfig(SingleConfig):
    """What our protocol can be told, and the model's constructor through `model`.

    `size_px` is 256, whatever the model's own default is (Dinomaly 448, Csflow 768).
    """

    model: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the model's constructor: `--set 'anomalib:Padim.model={layers=["layer1"]}'`."""
    weights: str | None = None
    """A state dict (.pth, .safetensors) for the pretrained network that the model gets from timm,
    under timm's names or with the same tensors in the same order, as torchvision's files have."""
    max_epochs: int | None = Field(default=None, ge=1)
    """None: the model's own, or 100 where it has none."""
    max_steps: int | None = Field(default=None, ge=1)
    """None: the model's own, or no bound."""
    multiple_px: int = Field(default=32, ge=1)
    """Height and width of the input are multiples of it: 14 for networks with patches of 14."""


class AnomalibDetector(SingleDetector):
    """One model of anomalib; `adapter` makes a subclass of it for each.

    A model that only scores whole images (Dfkde, Ganomaly) gives flat maps.

    Deviation: the input has our size and is never cropped; the epochs are a fixed number, where
    anomalib's examples stop by the test set's figures.
    """

    Config: ClassVar[type[AnomalibConfig]] = AnomalibConfig
    config: AnomalibConfig
    needs_backbone = False
    cuts = ("anomaly map",)
    smoothing_px = 0  # the model smooths its maps itself
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        # Bounds the time on a CPU: what is trained by gradients is far from done after it.
        "fast": {"max_steps": 300},
    }
    model_name: ClassVar[str]

    def __init__(
        self, config: AnomalibConfig, backbone: Backbone | None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        _check_arguments(self.name, _model_class(self.model_name), self.config.model)
        self._module: Any = None

    def _choose_input_size(self, train: Sequence[Pixels]) -> Size:
        config = self.config
        return input_size(image_sizes(train), config.size_px, config.resize, config.multiple_px)

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        with _seeded(seed), _quiet():
            self._module = self._build(pretrained=True)
            self._train(train, validation, progress)
            self._module.to(self.device).eval().requires_grad_(False)
        if len(validation) > 0:
            scores = [one.score for one in self.predict(validation)]
            self.training_log.append(
                {"epoch": float(len(self.training_log)), "validation": float(np.mean(scores))}
            )

    def _build(self, *, pretrained: bool) -> Any:
        """The model for our input size; without weights when saved ones will follow."""
        found = _model_class(self.model_name)
        components = {name: False for name in COMPONENTS if name != "pre_processor"}
        weights = _read_weights(self.config.weights) if pretrained and self.config.weights else None
        try:
            with _timm_weights(weights, fetch=pretrained):
                return found(
                    **self.config.model,
                    **components,
                    pre_processor=_pre_processor(found, self.input_size),
                )
        except MethodError:
            raise
        except Exception as error:
            # Whatever the model's constructor or a failed download raises: there are forty models.
            raise MethodError(
                f"{self.name}: the model cannot be built ({_line(error)}); next step: if its "
                f"weights cannot be downloaded, --set {self.name}.weights=FILE or --set "
                f"'{self.name}.model={{pre_trained=false}}'"
            ) from error

    def _train(
        self, train: Sequence[Pixels], validation: Sequence[Pixels], progress: Progress
    ) -> None:
        from loco_tools.methods.anomalib_training import ImageData, Reporting, make_trainer

        module, config = self._module, self.config
        data = ImageData(self._stacks(train), self._stacks(validation), config.batch_size)
        reporting = Reporting(self.name, progress, self.training_log)
        trainer = make_trainer(
            module.trainer_arguments,
            device=self.device,
            callbacks=[reporting],
            max_epochs=config.max_epochs,
            max_steps=config.max_steps,
        )
        try:
            if str(module.learning_type.value) == "one_class":
                trainer.fit(module, datamodule=data)
            else:  # nothing is trained, its hooks get ready in a validation
                trainer.validate(module, datamodule=data, verbose=False)
        except MethodError:
            raise
        except Exception as error:
            raise MethodError(
                f"{self.name}: anomalib's training failed ({_line(error)})"
            ) from error

    def _stacks(self, images: Sequence[Pixels]) -> Tensor:
        """(N, 3, h, w) uint8: a quarter of the memory that floats take."""
        parts = [
            (batch.rgb(self.input_size) * 255).round().byte()
            for batch in batches(images, self.config.batch_size, "cpu")
        ]
        return torch.cat(parts) if parts else torch.empty(0, 3, *self.input_size).byte()

    def memory_mb(self, count: int) -> float:
        """See `Detector.memory_mb`: the images; what a model of anomalib keeps is not known."""
        h, w = self.input_size
        return 3 * count * h * w / 1e6

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: the model's own image score and map, as they come."""
        scores: PatchScores = batch.remember(
            (self, "scores"), lambda: self._scores(batch.rgb(self.input_size))
        )
        return scores

    def _scores(self, rgb: Tensor) -> PatchScores:
        if self._module is None:
            raise self.not_fitted()
        found = self._module(rgb)
        B, _, h, w = rgb.shape
        maps, image = found.anomaly_map, found.pred_score
        if maps is None and image is None:
            raise MethodError(f"{self.name}: the model gave neither a score nor an anomaly map")
        if maps is None:
            maps = image.reshape(B, 1, 1).expand(B, h, w)
        maps = maps.reshape(B, *maps.shape[-2:]).float()
        image = maps.flatten(1).amax(dim=1) if image is None else image.reshape(B).float()
        return PatchScores(image=image, patches=maps)

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`."""
        self.check_cut(cut)
        return CutShape(1, CUT_STRIDE)

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """Cut "anomaly map": (B, 1, h/8, w/8), averaged; there is no common inner one."""
        self.check_cut(cut)
        h, w = self.input_size
        maps = self.score_batch(batch).patches[:, None]
        return functional.adaptive_avg_pool2d(maps, (h // CUT_STRIDE, w // CUT_STRIDE))

    def _tensors(self) -> dict[str, Tensor]:
        state: Mapping[str, Tensor] = self._module.state_dict()
        return {key: value.clone() for key, value in state.items()}  # some models share storage

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        with _quiet():
            self._module = self._build(pretrained=False)
        self._module.load_state_dict(dict(tensors))
        self._module.to(self.device).eval().requires_grad_(False)


@functools.cache
def adapter(name: str) -> type[AnomalibDetector]:
    """The detector class of "anomalib:Model".

    Raises:
        MissingExtraError: anomalib is not installed.
        MethodError: it has no such model; names the nearest one.
    """
    extras.require(f'method "{name}"', "anomalib")
    model = name.removeprefix(PREFIX)
    _model_class(model)
    return type(model, (AnomalibDetector,), {"name": name, "model_name": model})


def _model_class(model: str) -> Any:
    with _quiet():
        from anomalib import models
    known = [name for name in models.__all__ if inspect.isclass(getattr(models, name, None))]
    if model not in known:
        raise MethodError(f'anomalib has no model "{model}"; {did_you_mean(model, known)}')
    return getattr(models, model)


def _check_arguments(name: str, found: Any, given: Mapping[str, Any]) -> None:
    known = [key for key in inspect.signature(found).parameters if key not in COMPONENTS]
    for key in given:
        if key not in known:
            raise MethodError(f'{name}: unknown model argument "{key}"; {did_you_mean(key, known)}')


def _pre_processor(found: Any, size: Size) -> Any:
    """The model's own normalisation at our size: its resizing and cropping are left out."""
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms import v2

    transform = found.configure_pre_processor().transform
    steps = getattr(transform, "transforms", [transform])
    kept = [step for step in steps if isinstance(step, v2.Normalize)]
    return PreProcessor(transform=v2.Compose([v2.Resize(size, antialias=True), *kept]))


def _read_weights(path: str) -> dict[str, Tensor]:
    place = Path(path)
    try:
        if place.suffix == ".safetensors":
            from safetensors.torch import load

            return load(place.read_bytes())
        state: dict[str, Tensor] = torch.load(place, map_location="cpu", weights_only=True)
    except Exception as error:
        raise MethodError(
            f"{place}: expected a state dict (.pth or .safetensors), got {_line(error)}"
        ) from error
    return state


@contextlib.contextmanager
def _timm_weights(weights: dict[str, Tensor] | None, *, fetch: bool) -> Iterator[None]:
    """Networks that a model asks timm for with weights get `weights`, or none without `fetch`.

    anomalib has no way to name a local file, and builds the network deep inside its models.
    """
    import timm

    create = timm.create_model

    def create_filled(*args: Any, pretrained: bool = False, **rest: Any) -> nn.Module:
        net: nn.Module = create(*args, pretrained=False, **rest)
        if pretrained and weights is not None:
            fill_in_order(net, weights)
        return net

    if weights is None and fetch:
        yield
        return
    with mock.patch.object(timm, "create_model", create_filled):
        yield


def fill_in_order(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict by names, or by order where every shape agrees; it may be longer.

    Raises:
        MethodError: neither fits.
    """
    wanted = [k for k in net.state_dict() if not k.endswith("num_batches_tracked")]
    given = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    if not set(wanted) <= set(given):
        given = dict(zip(wanted, given.values(), strict=False))
    unlike = [k for k in wanted if k not in given or given[k].shape != shapes[k]]
    if unlike:
        raise MethodError(
            f"weights do not fit the model's network: {len(unlike)} of {len(wanted)} tensors are "
            f"missing or have another shape (first: {unlike[0]}); next step: name the network "
            "whose weights these are in the model's arguments"
        )
    net.load_state_dict({k: given[k] for k in wanted}, strict=False)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """anomalib draws from all three global generators; they are put back afterwards."""
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice on loaders and hardware, and deprecations inside anomalib."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
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


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
