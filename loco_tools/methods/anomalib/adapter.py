"""Any image model of anomalib with this package's splits, validation and metrics.

github.com/open-edge-platform/anomalib, 2.7. `--methods anomalib:Padim` names a class of
`anomalib.models`. The model's own transform, losses, optimisers, schedules, memory banks and hooks
run under Lightning's Trainer (see `training`). A plain loop over the inner torch models would miss
the steps that half of them take in Lightning's hooks (statistics before the first step, several
optimisers, banks built at the end of an epoch), and anomalib's Engine would add steps that do not
belong to the protocol: thresholds, normalised scores, checkpoints chosen by metrics.
"""

import functools
import importlib
import inspect
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from loco_tools import extras
from loco_tools.datasets.images import Pixels, Size
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods import ANOMALIB
from loco_tools.methods.anomalib.transform import transform_of
from loco_tools.methods.backbones import Backbone, read_state
from loco_tools.methods.batch import Batch, image_sizes, input_size, memo
from loco_tools.methods.detector import (
    Category,
    CutShape,
    PatchScores,
    SingleConfig,
    SingleDetector,
)
from loco_tools.progress import Progress

COMPONENTS = ("pre_processor", "post_processor", "evaluator", "visualizer")
"""Arguments of every model that the adapter sets itself."""
_SIZES = ("input_shape", "image_size")
"""Arguments that are derived from the input size."""
EXCLUDED: Mapping[str, str] = {
    "AiVad": "it takes videos",
    "CFM": "it needs a point cloud for every image",
    "Fuvas": "it takes videos",
    "VlmAd": "it prompts a language model and gives no score",
}
"""Models that cannot be compared on images alone, and why."""


_CATEGORIES: Mapping[Category, tuple[str, ...]] = {
    "memory bank": ("AnomalyDINO", "MHPatchcore", "Patchcore", "Rad", "SuperADD"),
    "teacher-student": ("EfficientAd", "L2BT", "ReverseDistillation", "Stfpm", "UniNet"),
    "flow": ("Cflow", "Csflow", "Fastflow", "Patchflow", "Uflow"),
    "density": ("Dfkde", "Dfm", "Padim"),
    "one-class": ("Cfa", "GeneralAD", "Glass", "Supersimplenet"),
    "reconstruction": ("Dinomaly", "Draem", "Dsr", "Fre", "Ganomaly", "InpFormer"),
}
"""Models that are not listed, such as those that take prompts, are "other"."""


class AnomalibConfig(SingleConfig):
    """Settings of the protocol; `model` holds the arguments of the model's constructor."""

    size_px: int = Field(default=0, ge=0, le=4096)
    """The shorter side of the input; 0: the model's own. Some models take only one size."""
    multiple_px: int = Field(default=0, ge=0)
    """Height and width are multiples of this; 0: the side of a transformer's patches, else 32."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the model's constructor: `--set 'anomalib:Padim.model={layers=["layer1"]}'`."""
    weights: str | None = None
    """A state dict (.pth, .safetensors) for the pretrained network that the model gets from timm or
    torchvision: under that network's names, or with the same tensors in the same order."""
    max_epochs: int | None = Field(default=None, ge=1)
    """None: the model's own number, or 100 where it defines none."""
    max_steps: int | None = Field(default=None, ge=1)
    """Upper bound for models that learn by steps; None: the model's own, or no bound. A memory bank
    takes every image once in any case."""


class AnomalibDetector(SingleDetector):
    """A model of anomalib; `adapter` makes a subclass for each.

    A model that only scores whole images (Dfkde, Ganomaly) gives constant maps. There are no cuts:
    a feature-level ensemble cannot have one of these as a member. An interrupted training starts
    from the beginning.

    Deviation: images are resized as the model's transform does it, but never cropped or padded, and
    keep their aspect unless `resize` is "square". The number of epochs is fixed beforehand, where
    anomalib's examples stop by metrics of the test set.
    """

    Config: ClassVar[type[AnomalibConfig]] = AnomalibConfig
    config: AnomalibConfig
    needs_backbone = False
    cuts = ()
    smoothing_px = 0  # the model smooths its maps itself
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # Smaller defects are missed earlier.
            "size_px": 256,
            # Bounds the time on a CPU: what is learned by steps is far from done after it.
            "max_steps": 300,
        },
    }
    model_name: ClassVar[str]

    def __init__(
        self, config: AnomalibConfig, backbone: Backbone | None = None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        known = [key for key in _arguments(model_class(self.model_name)) if key not in _SIZES]
        for key in self.config.model:
            if key not in known:
                raise MethodError(
                    f'{self.name}: unknown model argument "{key}"; {did_you_mean(key, known)}'
                )
        self._module: Any = None

    @property
    def module(self) -> Any:
        """The fitted model, a LightningModule; MethodError before."""
        if self._module is None:
            raise self.not_fitted()
        return self._module

    def _choose_input_size(self, train: Sequence[Pixels]) -> Size:
        own = transform_of(model_class(self.model_name))
        if own.fixed:
            return own.size
        side = self.config.size_px or min(own.size)
        multiple = self.config.multiple_px or self._multiple(own.size)
        return input_size(image_sizes(train), side, self.config.resize, multiple)

    def _multiple(self, own: Size) -> int:
        """The patch size in the network's name, else a common one that divides `own`."""
        signature = inspect.signature(model_class(self.model_name)).parameters
        settings = {key: value.default for key, value in signature.items()} | self.config.model
        for value in settings.values():
            if isinstance(value, str) and (match := re.search(r"patch(\d+)|vit.*_(\d+)$", value)):
                return int(match[1] or match[2])
        return next((n for n in (32, 16, 14) if all(side % n == 0 for side in own)), 8)

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        from loco_tools.methods.anomalib.training import quiet, train_model

        own = transform_of(model_class(self.model_name))
        if own.fixed and self.config.size_px not in (0, min(own.size)):
            h, w = own.size
            progress.note(f"{self.name}: takes {h} x {w} px only, not {self.config.size_px}")
        with _seeded(seed, self.device), quiet():
            self._module = self._build(pretrained=True)
            self.training_log = train_model(
                self._module,
                self._resized(train),
                self._resized(validation),
                title=self.name,
                batch_size=self.config.batch_size,
                device=self.device,
                max_epochs=self.config.max_epochs,
                max_steps=self.config.max_steps,
                progress=progress,
            )
        self._module.to(self.device).eval().requires_grad_(False)
        if len(validation) > 0:
            mean = float(np.mean([one.score for one in self.predict(validation)]))
            self.training_log.append({"epoch": len(self.training_log) + 1.0, "validation": mean})

    def _build(self, *, pretrained: bool) -> Any:
        """The model for the input size; without weights when saved ones are loaded afterwards."""
        from loco_tools.methods.anomalib.weights import no_downloads, pretrained_networks

        model = model_class(self.model_name)
        own = transform_of(model)
        sizes = {"input_shape": self.input_size, "image_size": min(self.input_size)}
        others = {name: False for name in COMPONENTS if name != "pre_processor"}
        path = self.config.weights
        state = read_state(Path(path)) if pretrained and path is not None else None
        guard = pretrained_networks(state) if pretrained else no_downloads(model)
        try:
            with guard:
                return model(
                    **{key: value for key, value in sizes.items() if key in _arguments(model)},
                    **self.config.model,
                    **others,
                    pre_processor=own.pre_processor(self.input_size),
                )
        except MethodError as error:
            raise MethodError(f"{self.name}: {error}") from error
        except Exception as error:  # whatever a constructor or a failed download raises
            raise MethodError(self._cannot_build(error)) from error

    def _cannot_build(self, error: Exception) -> str:
        known = _arguments(model_class(self.model_name))
        without = f", --set '{self.name}.model={{pre_trained=false}}' does without"
        return (
            f"{self.name}: the model could not be built ({one_line(error)}); expected its "
            "pretrained weights and textures in anomalib's cache, or the internet; next "
            f"step: --set {self.name}.weights=FILE names the weights of its network from timm or "
            "torchvision"
            f"{without if 'pre_trained' in known else ''}; "
            f"the model's own arguments go into {self.name}.model ({', '.join(known)})"
        )

    def _resized(self, images: Sequence[Pixels]) -> Tensor:
        """(N, 3, h, w) uint8, a quarter of the memory that floats take."""
        own = transform_of(model_class(self.model_name))
        parts = [own.resized(image, self.input_size) for image in images]
        return torch.stack(parts) if parts else torch.empty(0, 3, *self.input_size).byte()

    def memory_mb(self, count: int) -> float:
        """See `Detector.memory_mb`: the images; the needs of the model itself are unknown."""
        h, w = self.input_size
        return 3 * count * h * w / 1e6

    @memo
    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: the model's own image score and map, unchanged."""
        from anomalib.data import ImageBatch

        pixels = self._resized(batch.images).to(batch.device)
        rgb = self.module.pre_processor(pixels.float() / 255)
        try:
            prediction = self.module.predict_step(ImageBatch(image=rgb), 0)
            return _raw_scores(prediction.pred_score, prediction.anomaly_map, pixels)
        except Exception as error:  # whatever a model raises
            raise MethodError(
                f"{self.name}: the model could not predict ({one_line(error)}); "
                "next step: try --resize square, or another --size"
            ) from error

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`: models of anomalib have no cuts."""
        raise self._no_cuts(cut)

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """See `Detector.cut_batch`: models of anomalib have no cuts."""
        del batch
        raise self._no_cuts(cut)

    def _no_cuts(self, cut: str) -> MethodError:
        return MethodError(
            f'{self.name} has no cut "{cut}": models of anomalib expose no intermediate features '
            "in a common way; next step: leave it out of the ensemble"
        )

    def _tensors(self) -> dict[str, Tensor]:
        state: Mapping[str, Tensor] = self.module.state_dict()
        return {key: value.clone() for key, value in state.items()}  # some models share storage

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        from loco_tools.methods.anomalib.training import quiet

        with quiet():
            self._module = self._build(pretrained=False)
            self._module.load_state_dict(dict(tensors), strict=True)
        self._module.to(self.device).eval().requires_grad_(False)


@functools.cache
def adapter(name: str) -> type[AnomalibDetector]:
    """The detector class of "anomalib:Model".

    Raises:
        MissingExtraError: anomalib is not installed.
        MethodError: it has no such model (names the nearest), or one that our protocol cannot run.
    """
    extras.require(f'Method "{name}"', "anomalib")
    model = name.removeprefix(ANOMALIB)
    if model in EXCLUDED:
        raise MethodError(f"{name}: cannot be compared on images alone: {EXCLUDED[model]}")
    model_class(model)
    category = next((name for name, models in _CATEGORIES.items() if model in models), "other")
    attributes = {"name": name, "model_name": model, "category": category}
    return type(model, (AnomalibDetector,), attributes)


def model_names() -> list[str]:
    """Every model of anomalib that the adapter can run."""
    models = _models()
    names = [name for name in models.__all__ if inspect.isclass(getattr(models, name, None))]
    return sorted(set(names) - set(EXCLUDED))


def model_class(model: str) -> Any:
    """A class of `anomalib.models`; MethodError that names the nearest one."""
    if model not in model_names():
        raise MethodError(f'anomalib has no model "{model}"; {did_you_mean(model, model_names())}')
    return getattr(_models(), model)


@functools.cache
def _models() -> Any:
    from loco_tools.methods.anomalib.training import quiet

    with quiet():
        return importlib.import_module("anomalib.models")


def _raw_scores(image: Tensor | None, maps: Tensor | None, pixels: Tensor) -> PatchScores:
    """A model's image scores and maps, one of which may be missing, for `pixels` (B, 3, h, w)."""
    B, _, h, w = pixels.shape
    if maps is None and image is None:
        raise RuntimeError("it gave neither a score nor an anomaly map")
    if maps is None:
        maps = torch.as_tensor(image).reshape(B, 1, 1).expand(B, h, w)
    maps = maps.reshape(B, *maps.shape[-2:]).float()
    image = maps.flatten(1).amax(dim=1) if image is None else image.reshape(B).float()
    return PatchScores(image=image, patches=maps)


def _arguments(model: Any) -> list[str]:
    """The arguments of the model's constructor without the components."""
    return [key for key in inspect.signature(model).parameters if key not in COMPONENTS]


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all global random generators, from which models draw, and restore them afterwards."""
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def one_line(error: BaseException) -> str:
    """Type and text of another library's error on one line, shortened."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
