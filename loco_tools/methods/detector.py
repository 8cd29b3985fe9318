"""The contract of detectors: fitted on good images, they give each image a score and a map.

The conformance suite (`loco_tools.testing.check_detector`) tests every detector against it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor

from loco_tools.datasets.images import Pixels, Size
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods import Resize, checkpoint
from loco_tools.methods.anomaly_maps import SIGMA_PX, AnomalyMap, anomaly_maps
from loco_tools.methods.backbones import DEFAULT, STRIDES, Backbone, backbone_for
from loco_tools.methods.batch import (
    STRIDE_PX,
    Batch,
    batches,
    image_sizes,
    input_size,
)
from loco_tools.methods.memory_check import check_memory
from loco_tools.methods.plugins import name_to_save
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import Schema, parse
from loco_tools.wording import plural

BACKBONE = "backbone."
"""Prefix of the names of those saved arrays that the backbone learned."""


Category = Literal[
    "memory bank",
    "teacher-student",
    "flow",
    "one-class",
    "density",
    "reconstruction",
    "ensemble",
    "other",
]
"""How detectors work: a memory bank stores good patches; a student imitates a teacher on good
images; a flow maps good features to a known density; a one-class boundary encloses good features; a
density such as a Gaussian is fitted to them; good images are reconstructed; an ensemble combines
others."""


@dataclass(frozen=True)
class Prediction:
    """The result for one image, without any threshold.

    `score` is for the image, `map` is (H, W) float32 at the image's own size; higher is more
    anomalous in both. Their scales differ between detectors and are not probabilities.
    """

    score: float
    map: AnomalyMap


@dataclass(frozen=True)
class PatchScores:
    """Scores of a batch before maps are upsampled: image (B,), patches (B, h, w).

    Both are finite real numbers of any type; other types than float32 and float64 become float32.
    """

    image: Tensor
    patches: Tensor


class CutShape(NamedTuple):
    """The shape of a cut's features: channels, and stride of the grid in pixels of the input."""

    channels: int
    stride: int


class DetectorConfig(Schema):
    """Settings of every detector."""

    batch_size: int = Field(default=8, ge=1)
    """Images at a time, in training and prediction."""


class SingleConfig(DetectorConfig):
    """Settings of every detector that takes images itself."""

    size_px: int = Field(default=256, ge=32, le=4096)
    """The shorter side of the input, see `input_size`."""
    resize: Resize = "keep"


class Detector(ABC):
    """A detector: configured at construction, then fitted or loaded, then used.

    Single detectors subclass `SingleDetector`, ensembles this.

    Attributes:
        name: as in the `METHODS` table and in results.
        category: the kind of method, by which reports group detectors.
        Config: the class of the method's configuration.
        PRESETS: preset name -> the fields in which it differs from the defaults.
        cuts: names of the intermediate features that feature-level ensembles can use.
        smoothing_px: sigma of the Gaussian over its maps, in pixels of the input; 0: none.
        training_log: one entry per epoch of a fit, see `Training.run`: epoch, loss and its parts,
            and in some entries validation, the loss or the mean image score on good validation
            images. Empty where nothing is trained by steps.
    """

    name: ClassVar[str]
    category: ClassVar[Category] = "other"
    Config: ClassVar[type[DetectorConfig]]
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]]
    cuts: ClassVar[tuple[str, ...]]
    smoothing_px: ClassVar[float] = SIGMA_PX

    def __init__(self, config: DetectorConfig, *, device: str = "auto") -> None:
        self.config = config
        self.device = choose_device(device)
        self.training_log: list[dict[str, float]] = []
        self._input_size: Size | None = None
        self._keep: Path | None = None

    @classmethod
    @abstractmethod
    def configure(
        cls, preset: str = "paper", overrides: Mapping[str, Any] | None = None
    ) -> DetectorConfig:
        """The configuration of a preset with some fields changed.

        Raises:
            MethodError: no such preset.
            DefinitionError: an unknown field or a value out of range; names the nearest field.
        """

    @classmethod
    def fields(cls, preset: str, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
        """The fields of a preset with some changed; MethodError when there is no such preset."""
        if preset not in cls.PRESETS:
            raise MethodError(
                f'{cls.name}: unknown preset "{preset}"; {did_you_mean(preset, cls.PRESETS)}'
            )
        return {**cls.PRESETS[preset], **(overrides or {})}

    @classmethod
    def origin(cls) -> str:
        """The beginning of messages about the configuration."""
        return f'settings of method "{cls.name}"'

    @property
    def input_size(self) -> Size:
        """(h, w) to which this detector resizes images.

        Raises:
            MethodError: the detector has not been fitted.
        """
        if self._input_size is None:
            raise self.not_fitted()
        return self._input_size

    def not_fitted(self) -> MethodError:
        """The error to raise when the detector is used before it is fitted."""
        return MethodError(
            f"{self.name} has not been fitted; next step: call fit or load before using it"
        )

    def fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress = SILENT,
        keep: Path | None = None,
    ) -> Self:
        """Fit the detector to good images.

        Args:
            train: good images, (H, W, 3) uint8 RGB each, sizes may differ.
            validation: good images held out from training; may be empty.
            seed: the same seed on the same machine gives the same detector.
            progress: advanced with every batch or epoch.
            keep: a folder in which the state of a long training is saved, and from which an
                interrupted training is resumed; removed at the end. None: nothing is saved.

        Returns:
            The detector itself.

        Raises:
            MethodError: there are no training images, or the estimated memory is not available.
        """
        if len(train) == 0:
            raise MethodError(
                f"{self.name}: expected good images to train on, got none; "
                "next step: check the class's train/good folder"
            )
        self.training_log = []
        self._keep = keep
        self._input_size = self._choose_input_size(train)
        try:
            check_memory(self.name, self.memory_mb(len(train)), self.device, progress)
            self._prepare(train, seed, progress)
            self._fit(train, validation, seed=seed, progress=progress)
        except BaseException:
            self._input_size = None
            raise
        return self

    @torch.inference_mode()
    def predict(
        self, images: Sequence[Pixels], *, progress: Progress = SILENT
    ) -> Iterator[Prediction]:
        """One prediction per image, in order; images are decoded a batch at a time.

        Raises:
            MethodError: the detector has not been fitted.
        """
        if self._input_size is None:
            raise self.not_fitted()
        with progress.task(f"{self.name}: predicting", len(images)) as advance:
            for batch in batches(images, self.config.batch_size, self.device):
                yield from self.predict_batch(batch)
                advance(len(batch))

    @torch.inference_mode()
    def predict_batch(self, batch: Batch) -> list[Prediction]:
        """The predictions for a batch, which stores what other detectors can reuse."""
        scores = self.checked_scores(batch)
        maps = anomaly_maps(
            scores.patches, self.input_size, batch.sizes, sigma_px=self.smoothing_px
        )
        return [
            Prediction(score=float(score), map=anomaly_map)
            for score, anomaly_map in zip(scores.image, maps, strict=True)
        ]

    def checked_scores(self, batch: Batch) -> PatchScores:
        """The scores of `score_batch`.

        Raises:
            MethodError: they are not what `PatchScores` says.
        """
        origin, count, given = f"{self.name}.score_batch", len(batch), self.score_batch(batch)
        if not isinstance(given, PatchScores):
            raise MethodError(
                f"{origin}: expected PatchScores(image=..., patches=...), got "
                f"{type(given).__name__}; next step: return them"
            )
        checked = {}
        for name, scores, form in (
            ("image", "image scores", f"({count},)"),
            ("patches", "patch scores", f"({count}, h, w)"),
        ):
            value, expected = getattr(given, name), f"{scores} of shape {form}"
            if not isinstance(value, Tensor) or value.is_complex():
                got = value.dtype if isinstance(value, Tensor) else type(value).__name__
                raise MethodError(f"{origin}: expected {expected} as a real tensor, got {got}")
            dimensions = 1 + form.count(", ")
            if value.ndim != dimensions or len(value) != count or 0 in value.shape:
                raise MethodError(
                    f"{origin}: expected {expected} for a batch of {plural(count, 'image')}, got "
                    f"shape {tuple(value.shape)}; next step: give each image one score and one map"
                )
            real = value if value.dtype in (torch.float32, torch.float64) else value.float()
            if wrong := int((~torch.isfinite(real)).sum()):
                raise MethodError(
                    f"{origin}: expected finite {scores}, got {wrong} of {value.numel()} that are "
                    "NaN or infinite; next step: look for a division by 0, a logarithm of 0 or an "
                    "overflow"
                )
            checked[name] = real
        return PatchScores(**checked)

    @torch.inference_mode()
    def features(self, images: Sequence[Pixels], cut: str) -> Iterator[Tensor]:
        """The feature maps at a cut, (B, C, h, w) per batch of images.

        Raises:
            MethodError: no such cut, or the detector has not been fitted.
        """
        for batch in batches(images, self.config.batch_size, self.device):
            yield self.cut_batch(batch, cut)

    def memory_mb(self, count: int) -> float:
        """Estimated memory for fitting on `count` images at `input_size`, in megabytes.

        The estimate covers what grows with settings and images: parameters with gradients and
        moments, the activations of a step, and stored features. By default it is 0.
        """
        del count
        return 0.0

    @abstractmethod
    def parameter_count(self) -> int:
        """Number of values that predicting uses: of the backbone, networks and memory bank."""

    @abstractmethod
    def cut_shape(self, cut: str) -> CutShape:
        """Channels and stride of a cut; MethodError when there is no such cut."""

    def check_cut(self, cut: str) -> None:
        """Raise a MethodError when this detector has no such cut."""
        if cut not in self.cuts:
            raise MethodError(f'{self.name} has no cut "{cut}"; {did_you_mean(cut, self.cuts)}')

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the fitted detector into `folder`, replacing it atomically."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, backbone: Backbone | None = None, *, device: str = "auto") -> Self:
        """Load a detector that `save` wrote. Reads data only, executes no code.

        Args:
            folder: the folder that `save` was given.
            backbone: the backbone it was fitted with; may be left out when it can be loaded by name
                (`scattering`, or torchvision's weights).
            device: "auto", "cpu", "cuda".

        Raises:
            MethodError: no detector of this method there, a damaged file, or another backbone.
        """

    @abstractmethod
    def _choose_input_size(self, train: Sequence[Pixels]) -> Size:
        """(h, w) to which images will be resized."""

    def _prepare(self, train: Sequence[Pixels], seed: int, progress: Progress) -> None:
        """A step before `_fit`, by default empty; `input_size` is known."""
        del train, seed, progress

    @abstractmethod
    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        """Learn; `input_size` is known."""

    @abstractmethod
    def score_batch(self, batch: Batch) -> PatchScores:
        """Scores of the images and of their patches."""

    @abstractmethod
    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """The feature map at one of `cuts`: (B, C, h, w)."""


class SingleDetector(Detector):
    """A detector that takes images itself, most of them through a backbone.

    Subclasses set the class attributes and define `_fit`, `score_batch`, `cut_batch`, `cut_shape`,
    `_tensors` and `_restore`. The defaults of their `Config` are the preset "paper". A plug-in is
    easier to write as a `loco_tools.methods.MapDetector`.

    Attributes:
        needs_backbone: false for a detector that learns from pixels alone; it ignores the backbone
            that it is given, and results show "none".
        default_backbone: torchvision's name of the published backbone.
        multiple_px: height and width of the input are multiples of this.
        strides: strides of the backbone's maps that it uses.
    """

    Config: ClassVar[type[SingleConfig]]
    config: SingleConfig
    needs_backbone: ClassVar[bool] = True
    default_backbone: ClassVar[str] = DEFAULT
    multiple_px: ClassVar[int] = STRIDE_PX
    strides: tuple[int, ...] = STRIDES

    def __init__(
        self, config: SingleConfig, backbone: Backbone | None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, device=device)
        self._backbone = None
        if self.needs_backbone:
            if backbone is None:
                raise MethodError(f"{self.name}: expected a backbone, got none")
            self._backbone = backbone.own().to(self.device)

    @property
    def backbone(self) -> Backbone:
        """The feature extractor; MethodError when the method has none."""
        if self._backbone is None:
            raise MethodError(f"{self.name} has no backbone")
        return self._backbone

    @classmethod
    def configure(
        cls, preset: str = "paper", overrides: Mapping[str, Any] | None = None
    ) -> SingleConfig:
        """See `Detector.configure`."""
        return parse(cls.Config, cls.fields(preset, overrides), origin=cls.origin())

    def parameter_count(self) -> int:
        """See `Detector.parameter_count`."""
        of_backbone = self._backbone.parameter_count(self.strides) if self._backbone else 0
        return of_backbone + sum(tensor.numel() for tensor in self._tensors().values())

    def _choose_input_size(self, train: Sequence[Pixels]) -> Size:
        sizes = image_sizes(train)
        return input_size(sizes, self.config.size_px, self.config.resize, self.multiple_px)

    def _prepare(self, train: Sequence[Pixels], seed: int, progress: Progress) -> None:
        if self._backbone is not None:
            title = f"{self.name}: backbone {self._backbone.name}"

            def training_pixels() -> Iterator[Tensor]:
                with progress.task(title, len(train)) as advance:
                    for batch in batches(train, self.config.batch_size, self.device):
                        yield batch.pixels(self.input_size)
                        advance(len(batch))

            self._backbone.fit(training_pixels(), count=len(train), seed=seed)

    def save(self, folder: Path) -> None:
        """See `Detector.save`.

        `detector.json` holds the configuration and `detector.safetensors` the arrays. The backbone
        is stored as its tag, together with the arrays that it learned from the class, if any.
        """
        size = self.input_size
        record = checkpoint.Record(
            method=name_to_save(type(self)),
            config=self.config.model_dump(mode="json"),
            backbone=self._backbone.tag if self._backbone is not None else None,
            input_size=size,
            training_log=self.training_log,
        )
        of_backbone = {} if self._backbone is None else self._backbone.learned()
        learned = {BACKBONE + key: value for key, value in of_backbone.items()}
        checkpoint.write(folder, record, {**self._tensors(), **learned})

    @classmethod
    def load(cls, folder: Path, backbone: Backbone | None = None, *, device: str = "auto") -> Self:
        """See `Detector.load`."""
        record, tensors = checkpoint.read(folder, expected={cls.name, name_to_save(cls)})
        config = parse(cls.Config, record.config, origin=str(folder / checkpoint.RECORD))
        own = None
        if cls.needs_backbone:
            own = backbone_for(record.backbone, backbone, origin=str(folder))
        detector = cls(config, own, device=device)
        detector.training_log = record.training_log
        detector._input_size = record.input_size
        tensors = {key: value.to(detector.device) for key, value in tensors.items()}
        learned = {
            key.removeprefix(BACKBONE): value
            for key, value in tensors.items()
            if key.startswith(BACKBONE)
        }
        try:
            if detector._backbone is not None:
                detector._backbone.restore(learned)
            detector._restore({k: v for k, v in tensors.items() if not k.startswith(BACKBONE)})
        except (KeyError, RuntimeError) as error:
            raise MethodError(
                f"{folder}: does not hold a complete {cls.name} ({' '.join(str(error).split())}); "
                "next step: fit it again"
            ) from error
        return detector

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """All arrays that `_fit` learned, for saving."""

    @abstractmethod
    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the arrays that `_tensors` returned; KeyError when one is missing."""


def choose_device(device: str) -> torch.device:
    """The named device; "auto" is a CUDA device when there is one, else the CPU.

    Raises:
        MethodError: the name is unknown, or a CUDA device is requested and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise MethodError(f'unknown device "{device}"; expected auto, cpu or cuda') from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise MethodError(
            f'device "{device}" was requested, but torch finds no CUDA device; '
            "next step: use --device cpu"
        )
    return chosen
