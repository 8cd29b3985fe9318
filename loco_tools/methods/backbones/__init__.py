"""Frozen feature extractors: any torchvision classifier by name, and ones that need no weights.

A backbone gives feature maps of an image at several strides; most detectors take those at 8 and 16
(for ResNets the ends of `layer2` and `layer3`). Its `tag` says which function it is: architecture
plus the weights' origin.
"""

import contextlib
import math
import threading
import urllib.request
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from loco_tools import files
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods.backbones.batchnorm_folding import for_running, layout
from loco_tools.progress import SILENT, Progress

DEFAULT = "wide_resnet50_2"
WEIGHT_FREE = ("scattering", "dictionary")
FALL_BACK = "scattering"
"""With PatchCore as good as dictionary on magnetic tiles and better on the twin's classes: image
AUROC .846/.858 magnetic tiles, .986/.903 flat_connector, .615/.641 angle, .961/.836 composite_part
(those of `loco-tools demo`); see benchmark/results/weight_free.md."""
LEARNED = ("dictionary",)
"""Backbones that are fitted to each class; what they learn is saved with the detector."""
DEFAULT_WEIGHTS = "IMAGENET1K_V1"
NO_WEIGHTS = "none"
STRIDES = (8, 16)
"""What every backbone has; torchvision's have more, from 4 to 32."""
ALL_STRIDES = (4, 8, 16, 32)
STAGE_LISTS = ("features", "trunk_output", "layers", "blocks")
"""Top-level modules of torchvision's classifiers whose children are the network's stages."""


class Backbone(nn.Module):
    """A feature extractor: frozen, or fitted once to good images before its detector is.

    Attributes:
        name: torchvision's name, or one of `WEIGHT_FREE`.
        weights: "IMAGENET1K_V1", the first 12 digits of the SHA-256 of a weight file or of what
            `fit` learned, or "none".
        channels: of the maps at strides 8 and 16.
        strides: every stride at which it has maps, ascending.
        weight_free: true when it needs no weights; detectors then standardise its channels.
    """

    name: str
    weights: str
    channels: tuple[int, ...]
    strides: tuple[int, ...] = STRIDES
    weight_free: bool

    @property
    def tag(self) -> str:
        """Architecture and weights, as in results: "mobilenet_v2:3f2a90c41b7e"."""
        return f"{self.name}:{self.weights}"

    def own(self) -> Self:
        """The one that a detector may fit and keep: itself when there is nothing to fit."""
        return self

    def fit(self, pixels: Iterator[Tensor], *, count: int, seed: int) -> None:
        """Learn from good images; a frozen backbone does not look at them.

        Args:
            pixels: batches as `taps` takes them.
            count: how many images there are in all.
            seed: the same seed and images on the same machine give the same backbone.
        """

    def learned(self) -> dict[str, Tensor]:
        """What `fit` learned, for saving; nothing of a frozen backbone."""
        return {}

    def restore(self, learned: dict[str, Tensor]) -> None:
        """Take over what `learned` gave; RuntimeError when it does not fit."""

    def parameter_count(self, strides: tuple[int, ...]) -> int:
        """How many numbers it computes the maps at `strides` with: parameters or fixed filters."""
        del strides
        return sum(value.numel() for value in [*self.parameters(), *self.buffers()])

    @abstractmethod
    def taps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, h, w) ImageNet-normalised RGB -> maps (B, C, ~h/8, ~w/8), (B, C, ~h/16, ~w/16)."""

    def maps(self, pixels: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
        """The maps at some of `strides`, in the order asked for: (B, C, ~h/s, ~w/s) each.

        Raises:
            MethodError: it has no map at a stride.
        """
        self.check_strides(strides)
        found = dict(zip(STRIDES, self.taps(pixels), strict=True))
        return tuple(found[stride] for stride in strides)

    def relative(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) as distances are to see them: a learned backbone's as they are.

        A weight-free one's less their medians over each image: images differ as wholes, in
        exposure, finish and roughness, by more than small defects do; and a small defect, however
        strong, hardly moves a median. The price: what is the same all over an image, a wrong
        material say, is not seen.
        """
        if not self.weight_free:
            return maps
        return maps - maps.flatten(2).median(dim=2).values[:, :, None, None]

    def channels_at(self, stride: int) -> int:
        """Channels of the map at a stride; MethodError when there is none."""
        self.check_strides((stride,))
        return dict(zip(STRIDES, self.channels, strict=True))[stride]

    def check_strides(self, strides: tuple[int, ...]) -> None:
        """Raise a MethodError when the backbone has no map at one of these strides."""
        missing = [stride for stride in strides if stride not in self.strides]
        if missing:
            raise MethodError(
                f"backbone {self.name} has no feature map at stride {missing[0]}, only at "
                f"{', '.join(map(str, self.strides))}; next step: another --backbone, or weights "
                "of the whole network"
            )


class TorchvisionBackbone(Backbone):
    """A torchvision classifier without its head.

    `net`, which ends at the last stage with stride 16, has the parameters under torchvision's
    names. Maps come from parts of the network copied for running, see `folding`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        from torchvision.models.feature_extraction import create_feature_extractor

        self.name, self.weights, self.weight_free = name, NO_WEIGHTS, False
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            model = _classifier(name).eval()
            self._found = _stages(name, model)
            # Parts are cut out of the model as it is: cut out of a part, a stage would be its last
            # layer, without the sum of a residual block. The tuple keeps it out of our state.
            self._model = (model.requires_grad_(False),)
            self.net = create_feature_extractor(model, {stage: stage for stage in self.stages})
        self.net.eval().requires_grad_(False)
        self.strides = tuple(sorted(self._found))
        self.channels = tuple(self._found[stride][1] for stride in STRIDES)
        self._running: dict[tuple[tuple[int, ...], torch.device], nn.Module] = {}

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that give the maps at strides 8 and 16."""
        return tuple(self._found[stride][0] for stride in STRIDES)

    def channels_at(self, stride: int) -> int:
        """See `Backbone.channels_at`."""
        self.check_strides((stride,))
        return self._found[stride][1]

    def taps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """See `Backbone.taps`."""
        return self.maps(pixels, STRIDES)

    @torch.inference_mode()
    def maps(self, pixels: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
        """See `Backbone.maps`."""
        self.check_strides(strides)
        which = (strides, pixels.device)
        if which not in self._running:
            self._running[which] = for_running(self._part(strides), pixels.device)
        maps: dict[str, Tensor] = self._running[which](
            pixels.to(memory_format=layout(pixels.device))
        )
        return tuple(maps[self._found[stride][0]].contiguous() for stride in strides)

    def parameter_count(self, strides: tuple[int, ...]) -> int:
        """See `Backbone.parameter_count`."""
        part = self.net if strides == STRIDES else self._part(strides)
        return sum(value.numel() for value in part.parameters())

    def _part(self, strides: tuple[int, ...]) -> nn.Module:
        from torchvision.models.feature_extraction import create_feature_extractor

        stages = [self._found[stride][0] for stride in strides]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: nn.Module = create_feature_extractor(self._model[0], {s: s for s in stages})
        return made.eval().requires_grad_(False)

    def fill(self, state: dict[str, Tensor], *, weights: str, origin: str) -> None:
        """Take the weights of `state`; layers above stride 16 are used if they are all there.

        Batch norms that the file has folded away (their keys missing, the convolution before them
        with a bias) become the identity.

        Raises:
            MethodError: a parameter is missing or has another shape; names the first ones.
        """
        _accept_folded(self._model[0], state)
        wanted = _parameters(self.net)
        missing, unlike = _faults(wanted, state)
        if missing or unlike:
            raise MethodError(
                f"{origin}: does not fit {self.name}, {len(missing)} of {len(wanted)} parameters "
                f"are missing and {len(unlike)} have another shape (first: "
                f"{', '.join((missing + unlike)[:3])}); next step: name the backbone whose weights "
                "these are with --backbone, and use torchvision's parameter names"
            )
        self.net.load_state_dict({key: state[key] for key in wanted}, strict=False)
        self._fill_deeper(state)
        self._running.clear()
        self.weights = weights

    def _fill_deeper(self, state: dict[str, Tensor]) -> None:
        """Fill the stages above stride 16, or do without them when they are not all there."""
        deeper = [stride for stride in self.strides if stride > max(STRIDES)]
        for stride in deeper:
            part = self._part((stride,))
            wanted = _parameters(part)
            if any(_faults(wanted, state)):
                self.strides = tuple(known for known in self.strides if known < stride)
                return
            part.load_state_dict({key: state[key] for key in wanted}, strict=False)


def resolve_backbone(
    name: str | None = None,
    weights: Path | None = None,
    progress: Progress = SILENT,
    *,
    default: str | None = None,
) -> Backbone:
    """The backbone that a user asked for, or the default one.

    With neither a name nor weights: `default` (wide_resnet50_2 unless a method was published with
    another) with torchvision's ImageNet weights, and when those are neither cached nor
    downloadable, `FALL_BACK`, after a note. A backbone asked for by name is never replaced.

    Raises:
        MethodError: unknown name (with the nearest one), weights that do not fit, or the weights
            of a named backbone cannot be had.
    """
    if name is None and weights is None:
        wanted = default or DEFAULT
        try:
            return named_backbone(wanted, None, progress)
        except MethodError:
            progress.note(
                f"The ImageNet weights of {wanted} are neither cached nor downloadable: going on "
                f"with the backbone {FALL_BACK}, which needs none"
            )
            return named_backbone(FALL_BACK, None, progress)
    return named_backbone(name or DEFAULT, weights, progress)


def named_backbone(name: str, weights: Path | None = None, progress: Progress = SILENT) -> Backbone:
    """The backbone of that name with torchvision's weights or those of a file; errors as above."""
    if name in WEIGHT_FREE:
        if weights is not None:
            raise MethodError(f'backbone "{name}" takes no weights, got {weights}')
        return _weight_free(name)
    if name not in backbone_names():
        raise MethodError(f'unknown backbone "{name}"; {did_you_mean(name, backbone_names())}')
    if weights is not None:
        state = read_state(weights)
        backbone = TorchvisionBackbone(name)
        backbone.fill(state, weights=files.sha256_of(weights)[:12], origin=str(weights))
        return backbone
    state = _default_state(name, progress)
    backbone = TorchvisionBackbone(name)
    backbone.fill(state, weights=DEFAULT_WEIGHTS, origin=f"torchvision's weights of {name}")
    return backbone


def random_backbone(name: str) -> Backbone:
    """A torchvision architecture with random weights (always the same): for tests and ablations."""
    if name not in backbone_names():
        raise MethodError(f'unknown backbone "{name}"; {did_you_mean(name, backbone_names())}')
    return TorchvisionBackbone(name)


def backbone_names() -> list[str]:
    """Every name that `named_backbone` takes; some of torchvision's have no maps to tap."""
    from torchvision import models

    return [*WEIGHT_FREE, *models.list_models(module=models)]


def backbone_for(tag: str | None, given: Backbone | None, *, origin: str) -> Backbone:
    """The backbone of a saved detector by its tag: the given one if it is that, else had by name.

    Raises:
        MethodError: another one was given, or its weights came from a file and none was given.
    """
    name, _, found = (tag or "").partition(":")
    if given is not None and name in LEARNED and given.name == name:
        return given.own()
    if given is not None:
        if given.tag != tag:
            raise MethodError(f"{origin}: was fitted with backbone {tag}, got {given.tag}")
        return given
    if name in LEARNED:
        return _weight_free(name)
    if found == NO_WEIGHTS:
        return _weight_free(name) if name in WEIGHT_FREE else random_backbone(name)
    if found == DEFAULT_WEIGHTS:
        return named_backbone(name)
    raise MethodError(
        f"{origin}: was fitted with backbone {tag}, whose weights came from a file with that "
        f"SHA-256; next step: give that backbone (--backbone {name} --weights FILE)"
    )


def _weight_free(name: str) -> Backbone:
    from loco_tools.methods.backbones.dictionary import Dictionary
    from loco_tools.methods.backbones.scattering import Scattering

    known: dict[str, type[Backbone]] = {"scattering": Scattering, "dictionary": Dictionary}
    return known[name]()


def _classifier(name: str) -> nn.Module:
    from torchvision import models

    model: nn.Module = models.get_model(name, weights=None)
    return model


@torch.inference_mode()
def _stages(name: str, model: nn.Module) -> dict[int, tuple[str, int]]:
    """The stage that gives the map at each stride and its channels, from a trial run.

    It is the last one of its stride, but at stride 32 the last that is as wide as the first: what
    follows there prepares the classification (EfficientNet: 304, not 2048 channels).
    """
    shapes: list[tuple[str, torch.Size]] = []

    def record(stage: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                shapes.append((stage, output.shape))

        return hook

    hooks = [m.register_forward_hook(record(stage)) for stage, m in _stage_modules(model)]
    side = getattr(model, "image_size", 128)
    with contextlib.suppress(RuntimeError):  # a network of one fixed size; told below
        model(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    last: dict[int, tuple[str, int]] = {}
    for stage, shape in shapes:
        stride, channels = 2 ** round(math.log2(side / shape[-1])), shape[1]
        widened = stride in last and last[stride][1] != channels
        if stride in ALL_STRIDES and not (stride == 32 and widened):
            last[stride] = (stage, channels)
    if not all(stride in last for stride in STRIDES):
        raise MethodError(
            f'backbone "{name}" has no convolutional stages with strides 8 and 16; '
            f"next step: choose a convolutional one, such as {DEFAULT} or mobilenet_v2"
        )
    return last


def _parameters(net: nn.Module) -> dict[str, Tensor]:
    """What a weight file has to give: parameters and statistics, without counters."""
    state = net.state_dict()
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def _faults(wanted: dict[str, Tensor], state: dict[str, Tensor]) -> tuple[list[str], list[str]]:
    """Names that `state` lacks, and names under which it has another shape."""
    missing = [key for key in wanted if key not in state]
    unlike = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    return missing, unlike


def _stage_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    stages: list[tuple[str, nn.Module]] = []
    for name, module in model.named_children():
        if name in STAGE_LISTS:
            stages += [(f"{name}.{child}", inner) for child, inner in module.named_children()]
        else:
            stages.append((name, module))
    return stages


def read_state(path: Path) -> dict[str, Tensor]:
    """Parameters by name from a local file; nothing in it is executed."""
    import pickle

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise MethodError(f"{path}: no such weight file") from error
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise MethodError(f"{path}: expected a state dict, got a damaged file ({error})") from error
    except pickle.UnpicklingError as error:
        raise MethodError(
            f"{path}: expected a plain state dict (a dictionary of tensors), got something that "
            "would have to execute code; next step: save model.state_dict() and use that file"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise MethodError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _accept_folded(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Let `net` and `state` meet where the file's batch norms are folded into convolutions."""
    folded = False
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is None and f"{name}.bias" in state:
            module.bias = nn.Parameter(torch.zeros(module.out_channels), requires_grad=False)
            folded = True
    if not folded:
        return
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d) and f"{name}.weight" not in state:
            state[f"{name}.weight"] = torch.ones(module.num_features)
            state[f"{name}.bias"] = torch.zeros(module.num_features)
            state[f"{name}.running_mean"] = torch.zeros(module.num_features)
            state[f"{name}.running_var"] = torch.full((module.num_features,), 1 - module.eps)


def _default_state(name: str, progress: Progress) -> dict[str, Tensor]:
    """Torchvision's first ImageNet weights, from its cache or the internet.

    Raises:
        MethodError: not cached and not downloadable.
    """
    from torchvision import models

    choices = models.get_model_weights(name).__members__
    if DEFAULT_WEIGHTS not in choices:
        raise MethodError(f'backbone "{name}": torchvision has no {DEFAULT_WEIGHTS} weights for it')
    url = str(choices[DEFAULT_WEIGHTS].url)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not cached.exists():
        if not _reachable(url):
            raise MethodError(_unreachable(name))
        progress.note(f"Downloading {url}")
    try:
        return torch.hub.load_state_dict_from_url(url, progress=False, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise MethodError(f"{_unreachable(name)} ({error})") from error


def _unreachable(name: str) -> str:
    return (
        f"The ImageNet weights of {name} are neither cached nor downloadable; next step: "
        f"--backbone {name} --weights FILE with a local copy, or --backbone {WEIGHT_FREE[0]}"
    )


def _reachable(url: str, timeout_s: float = 4.0) -> bool:
    """Whether `url` answers in time; name resolution, which knows no timeout, is waited for too."""
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - torchvision's https URL
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310
                answers.append(True)
        except OSError:
            answers.append(False)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout_s)
    return bool(answers and answers[0])
