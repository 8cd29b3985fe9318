"""Any torchvision classifier as a frozen backbone."""

import contextlib
import copy
import math
import warnings
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.utils.fusion import fuse_conv_bn_eval

from loco_tools.errors import MethodError
from loco_tools.methods.backbones.base import ALL_STRIDES, DEFAULT, NO_WEIGHTS, STRIDES, Backbone

STAGE_LISTS = ("features", "trunk_output", "layers", "blocks")
"""Top-level modules of torchvision's classifiers whose children are the network's stages."""


class TorchvisionBackbone(Backbone):
    """A torchvision classifier without its head.

    `net`, which ends at the last stage with stride 16, has the parameters under torchvision's
    names. Maps are computed by copies of parts of the network, see `optimise_for_inference`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        from torchvision import models
        from torchvision.models.feature_extraction import create_feature_extractor

        self.name, self.weights, self.weight_free = name, NO_WEIGHTS, False
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            model: nn.Module = models.get_model(name, weights=None)
            self._stages = _find_stages(name, model.eval())
            # Parts are cut out of the model as it is: cut out of a part, a stage would be its last
            # layer, without the sum of a residual block. The tuple keeps it out of our state.
            self._model = (model.requires_grad_(False),)
            self.net = create_feature_extractor(model, {stage: stage for stage in self.stages})
        self.net.eval().requires_grad_(False)
        self.strides = tuple(sorted(self._stages))
        self.channels = tuple(self._stages[stride][1] for stride in STRIDES)
        self._optimised: dict[tuple[tuple[int, ...], torch.device], nn.Module] = {}

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that give the maps at strides 8 and 16."""
        return tuple(self._stages[stride][0] for stride in STRIDES)

    def channels_at(self, stride: int) -> int:
        """See `Backbone.channels_at`."""
        self.check_strides((stride,))
        return self._stages[stride][1]

    def taps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """See `Backbone.taps`."""
        return self.maps(pixels, STRIDES)

    @torch.inference_mode()
    def maps(self, pixels: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
        """See `Backbone.maps`."""
        self.check_strides(strides)
        key = (strides, pixels.device)
        if key not in self._optimised:
            self._optimised[key] = optimise_for_inference(
                self._network_up_to(strides), pixels.device
            )
        maps: dict[str, Tensor] = self._optimised[key](
            pixels.to(memory_format=memory_layout(pixels.device))
        )
        return tuple(maps[self._stages[stride][0]].contiguous() for stride in strides)

    def parameter_count(self, strides: tuple[int, ...]) -> int:
        """See `Backbone.parameter_count`."""
        network = self.net if strides == STRIDES else self._network_up_to(strides)
        return sum(value.numel() for value in network.parameters())

    def _network_up_to(self, strides: tuple[int, ...]) -> nn.Module:
        """The part of the classifier that gives the maps at these strides."""
        from torchvision.models.feature_extraction import create_feature_extractor

        stages = [self._stages[stride][0] for stride in strides]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = create_feature_extractor(self._model[0], {s: s for s in stages})
        return network.eval().requires_grad_(False)

    def fill(self, state: dict[str, Tensor], *, weights: str, origin: str) -> None:
        """Load the weights of `state`; stages above stride 16 are dropped unless it has them all.

        Batch norms that the file has folded away (their keys missing, the convolution before them
        with a bias) become the identity.

        Raises:
            MethodError: a parameter is missing or has another shape; names the first ones.
        """
        _accept_folded(self._model[0], state)
        expected = _parameters(self.net)
        missing, unlike = _mismatches(expected, state)
        if missing or unlike:
            raise MethodError(
                f"{origin}: does not fit {self.name}, {len(missing)} of {len(expected)} parameters "
                f"are missing and {len(unlike)} have another shape (first: "
                f"{', '.join((missing + unlike)[:3])}); next step: name the backbone whose weights "
                "these are with --backbone, and use torchvision's parameter names"
            )
        self.net.load_state_dict({key: state[key] for key in expected}, strict=False)
        for stride in [stride for stride in self.strides if stride > max(STRIDES)]:
            deeper = self._network_up_to((stride,))
            expected = _parameters(deeper)
            if any(_mismatches(expected, state)):
                self.strides = tuple(known for known in self.strides if known < stride)
                break
            deeper.load_state_dict({key: state[key] for key in expected}, strict=False)
        self._optimised.clear()
        self.weights = weights


@torch.inference_mode()
def _find_stages(name: str, model: nn.Module) -> dict[int, tuple[str, int]]:
    """The stage that gives the map at each stride and its channels, from a trial run.

    It is the last stage of its stride, but at stride 32 the last that is as wide as the first:
    later ones prepare the classification (EfficientNet: 304, not 2048 channels).
    """
    shapes: list[tuple[str, torch.Size]] = []

    def record(stage: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                shapes.append((stage, output.shape))

        return hook

    hooks = []
    for child, module in model.named_children():
        stages = (
            [(f"{child}.{inner}", part) for inner, part in module.named_children()]
            if child in STAGE_LISTS
            else [(child, module)]
        )
        hooks += [part.register_forward_hook(record(stage)) for stage, part in stages]
    side = getattr(model, "image_size", 128)
    with contextlib.suppress(RuntimeError):  # a network of one fixed size; reported below
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
    """The parameters and statistics that a weight file has to contain, without counters."""
    state = net.state_dict()
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def _mismatches(
    expected: dict[str, Tensor], state: dict[str, Tensor]
) -> tuple[list[str], list[str]]:
    """Names that `state` lacks, and names under which it has another shape."""
    missing = [key for key in expected if key not in state]
    unlike = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    return missing, unlike


def _accept_folded(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Make `net` and `state` agree where the file's batch norms are folded into convolutions."""
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


def optimise_for_inference(net: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a traced network on a device that gives the same up to rounding, but faster.

    Batch norms are folded into the convolutions before them, and on a CPU the weights are stored
    channels last: a MobileNetV2 is 1.6 times as fast (`benchmark/speed/backbones.py`). The copy is
    not for training.

    Args:
        net: a network from torchvision's `create_feature_extractor`.
        device: where it is to run; give it input in the `memory_layout` of that device.
    """
    copied: nn.Module = fuse(copy.deepcopy(net).eval(), inplace=True, no_trace=True)
    for module in list(copied.modules()):  # submodules that the tracer took for one operation
        for (name, first), (next_name, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, next_name, nn.Identity())
    return copied.to(device).to(memory_format=memory_layout(device))


def memory_layout(device: torch.device) -> torch.memory_format:
    """The memory format in which images are processed fastest: channels last on a CPU."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format
