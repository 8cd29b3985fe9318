"""Makes a detector of the benchmark out of a `MapDetector`."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from loco_tools.datasets.images import Pixels
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods.anomaly_maps import AnomalyMap, resize_map
from loco_tools.methods.backbones import STRIDES, Backbone
from loco_tools.methods.batch import Batch, memo
from loco_tools.methods.detector import (
    Category,
    CutShape,
    PatchScores,
    Prediction,
    SingleConfig,
    SingleDetector,
)
from loco_tools.methods.map_detector import MapDetector
from loco_tools.progress import Progress
from loco_tools.schema import loads_json

SCORE_MAP = "score map"
"""The cut that every `MapDetector` has."""
SINGLE_ATTRIBUTES = ("name", "Config", "PRESETS", "cuts")
"""Class attributes that a subclass of `SingleDetector` has to set."""
STRIDE = 8
"""Stride of cuts and of the patch scores that ensembles combine, in pixels of the input size."""
ATTRIBUTES = "attributes.json"
"""Name of the array that holds everything else that was saved, as UTF-8 bytes of JSON."""


class MapAdapter(SingleDetector):
    """Run a `MapDetector` as a `SingleDetector`; `adapter` makes a subclass for each.

    Images reach the author's class at their original size. `size_px` and `resize` determine the
    input of the backbone and the grid on which ensembles combine scores and features.
    """

    Config: ClassVar[type[SingleConfig]] = SingleConfig
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "fast": {}}
    smoothing_px = 0.0
    author_class: ClassVar[type[MapDetector]]

    def __init__(
        self, config: SingleConfig, backbone: Backbone | None = None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        self._batch: Batch | None = None
        self._renew_author()

    def _renew_author(self) -> None:
        """Construct the author's object again, so that every fit starts from the same state."""
        self.author = self.author_class()
        self._constructed = dict(vars(self.author))
        if self.needs_backbone:
            self.author._extract = self._backbone_features

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        del validation
        self._renew_author()
        with progress.task(f"{self.name}: fitting"):
            self.author.fit(train, seed=seed)

    def _backbone_features(self, image: Pixels) -> npt.NDArray[np.float32]:
        """See `MapDetector.backbone_features`; shared with other members of an ensemble."""
        batch = self._batch
        if batch is None or not any(known is image for known in batch.images):
            batch = Batch([image], self.device)
        row = next(row for row, known in enumerate(batch.images) if known is image)
        with torch.inference_mode():
            fine, coarse = batch.relative_maps(self.backbone, self.input_size, STRIDES)
            coarse = functional.interpolate(
                coarse[row : row + 1], size=fine.shape[-2:], mode="bilinear", align_corners=False
            )
            features = torch.cat([fine[row], coarse[0]])  # (C, h/8, w/8)
        return features.permute(1, 2, 0).cpu().numpy()

    @memo
    def _score_maps(self, batch: Batch) -> list[AnomalyMap]:
        """What the author's `score` gives for each image, checked; (H, W) or smaller."""
        self._batch = batch
        try:
            maps = list(self.author.score_images(batch.images))
        finally:
            self._batch = None
        if len(maps) != len(batch):
            raise MethodError(
                f"{self.name}.score_images: expected {len(batch)} maps, got {len(maps)}"
            )
        return [
            _finite_array(one, f"{self.name}.score", image)
            for one, image in zip(maps, batch.images, strict=True)
        ]

    @memo
    def _image_scores(self, batch: Batch) -> list[float]:
        scores = []
        for image, score_map in zip(batch.images, self._score_maps(batch), strict=True):
            score = float(self.author.image_score(image, score_map))
            if not np.isfinite(score):
                raise MethodError(f"{self.name}.image_score: expected a finite number, got {score}")
            scores.append(score)
        return scores

    @torch.inference_mode()
    def predict_batch(self, batch: Batch) -> list[Prediction]:
        """See `Detector.predict_batch`: maps at the image's size without a detour over patches."""
        maps = zip(self._score_maps(batch), batch.sizes, strict=True)
        return [
            Prediction(score=score, map=resize_map(score_map, size))
            for score, (score_map, size) in zip(self._image_scores(batch), maps, strict=True)
        ]

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: the maps on a grid of stride 8, as ensembles combine them."""
        patches = self._on_grid([one[..., None] for one in self._score_maps(batch)])[:, 0]
        image = torch.tensor(self._image_scores(batch), dtype=torch.float64, device=self.device)
        return PatchScores(image=image, patches=patches)

    def _on_grid(self, maps: Sequence[npt.NDArray[np.float32]]) -> Tensor:
        """Maps (h_k, w_k, C) of any sizes -> (B, C, h/8, w/8); averages areas when it shrinks."""
        height, width = self.input_size[0] // STRIDE, self.input_size[1] // STRIDE
        resized = []
        for one in maps:
            shrinks = one.shape[0] > height or one.shape[1] > width
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            grid = cv2.resize(one, (width, height), interpolation=interpolation)
            resized.append(grid.reshape(height, width, -1))
        return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(self.device)

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`."""
        self.check_cut(cut)
        return CutShape(1 if cut == SCORE_MAP else self.author_class.cuts[cut], STRIDE)

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """The author's features at one of its cuts or the score map: (B, C, h/8, w/8)."""
        self.check_cut(cut)
        if cut == SCORE_MAP:
            return self.score_batch(batch).patches[:, None]
        origin, channels = f"{self.name}.features", self.author_class.cuts[cut]
        self._batch = batch
        try:
            features = [
                _finite_array(self.author.features(image, cut), origin, image, channels)
                for image in batch.images
            ]
        finally:
            self._batch = None
        return self._on_grid(features)

    def parameter_count(self) -> int:
        """See `Detector.parameter_count`: what the arrays hold."""
        return super().parameter_count() - self._tensors()[ATTRIBUTES].numel()

    def _tensors(self) -> dict[str, Tensor]:
        arrays: dict[str, Tensor] = {}
        saved = {}
        for name, value in vars(self.author).items():
            if name == "_extract":
                continue
            try:
                saved[name] = _encode(value, name, arrays)
            except TypeError as error:
                if self._constructed.get(name) is value:
                    continue  # the constructor makes it again
                raise MethodError(
                    f"{self.name}: attribute {name} holds a {error}, which cannot be saved; "
                    "expected numpy arrays, torch tensors, numbers, strings, and lists, tuples and "
                    "dictionaries of these; next step: keep the object's arrays instead"
                ) from error
        content = json.dumps(saved).encode()
        return {**arrays, ATTRIBUTES: torch.frombuffer(bytearray(content), dtype=torch.uint8)}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        saved = loads_json(tensors[ATTRIBUTES].cpu().numpy().tobytes())
        for name, value in saved.items():
            setattr(self.author, name, _decode(value, tensors))


def as_detector_class(author: Any, name: str) -> type[SingleDetector]:
    """A class as a detector: a `SingleDetector` itself, or the adapter of a `MapDetector`.

    Raises:
        MethodError: it is neither of the two, lacks a method, or has an unknown category.
    """
    if not (isinstance(author, type) and issubclass(author, (MapDetector, SingleDetector))):
        raise MethodError(
            f'method "{name}": expected a subclass of loco_tools.methods.MapDetector or of '
            f"loco_tools.methods.detector.SingleDetector, got {author!r}"
        )
    missing = sorted(author.__abstractmethods__)
    if issubclass(author, SingleDetector):
        missing += [attribute for attribute in SINGLE_ATTRIBUTES if not hasattr(author, attribute)]
    if missing:
        base = MapDetector if issubclass(author, MapDetector) else SingleDetector
        raise MethodError(
            f'method "{name}": class {author.__name__} lacks {", ".join(missing)}, which a '
            f"subclass of {base.__name__} defines; next step: see the docstring of {base.__name__}"
        )
    return adapter(author) if issubclass(author, MapDetector) else author


@functools.cache
def adapter(author: type[MapDetector]) -> type[MapAdapter]:
    """The detector class of an author's class.

    Raises:
        MethodError: its category is unknown.
    """
    if author.category not in get_args(Category):
        raise MethodError(
            f'{author.__name__}: unknown category "{author.category}"; '
            f"{did_you_mean(author.category, get_args(Category))}"
        )
    attributes = {
        "__doc__": author.__doc__,
        "__module__": author.__module__,
        "author_class": author,
        "name": author.name or author.__name__,
        "category": author.category,
        "needs_backbone": author.needs_backbone,
        "cuts": (*author.cuts, SCORE_MAP),
    }
    return type(author.__name__, (MapAdapter,), attributes)


def _finite_array(
    given: npt.ArrayLike, origin: str, image: Pixels, channels: int | None = None
) -> npt.NDArray[np.float32]:
    """An author's (H, W) or (H, W, channels) as float32; MethodError when it is not that."""
    array = np.asarray(given)
    height, width = image.shape[:2]
    numeric = array.ndim >= 2 and array.size > 0 and array.dtype.kind in "fiub"
    fits = numeric and array.shape[2:] == (() if channels is None else (channels,))
    fits = fits and array.shape[0] <= height and array.shape[1] <= width
    if not (fits and np.isfinite(array).all()):
        form = "(H, W)" if channels is None else f"(H, W, {channels})"
        raise MethodError(
            f"{origin}: expected an {form} array of finite numbers, H and W at most "
            f"{height} x {width} as in the image, got shape {array.shape} {array.dtype}"
            f"{' with NaN or infinity' if fits else ''}"
        )
    return np.ascontiguousarray(array, np.float32)


def _encode(value: Any, key: str, arrays: dict[str, Tensor]) -> Any:
    """A value as JSON, its arrays set apart under names; TypeError names a type without a form."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        arrays[key] = value.detach().clone()
        return {"tensor": key}
    if isinstance(value, np.ndarray):
        try:
            arrays[key] = torch.from_numpy(value.copy())
        except TypeError:
            raise TypeError(f"numpy array of {value.dtype}") from None
        return {"array": key}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{key}.{n}", arrays) for n, item in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    if isinstance(value, dict):
        pairs = enumerate(value.items())
        return {
            "dict": [
                [_encode(k, f"{key}.{n}.key", arrays), _encode(v, f"{key}.{n}", arrays)]
                for n, (k, v) in pairs
            ]
        }
    raise TypeError(type(value).__name__)


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value that `_encode` was given."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return tensors[content].cpu().numpy()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_decode(k, tensors): _decode(v, tensors) for k, v in content}
    items = [_decode(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)
