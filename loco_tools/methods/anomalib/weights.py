"""Local weights for the pretrained networks inside anomalib's models.

anomalib does not accept a local file: the constructor of a model requests its network by name from
timm or torchvision. The functions here intercept that request.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from loco_tools.errors import MethodError


@contextmanager
def pretrained_networks(state: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Give `state` to networks that are requested with weights; None: timm and torchvision do it.

    Raises:
        MethodError: `state` does not fit the requested network.
    """
    if state is None:
        yield
        return
    with _intercept_weights(lambda net: fill_in_order(net, state)):
        yield


@contextmanager
def no_downloads(model: Any) -> Iterator[None]:
    """Keep networks that are requested with weights untrained, and data sets from being fetched.

    Args:
        model: the class of anomalib that is about to be built, before its saved weights are loaded.
    """
    module: Any = sys.modules[model.__module__]
    with _intercept_weights(lambda _net: None):
        if not hasattr(module, "download_and_extract"):
            yield
            return
        with _replace_attribute(module, "download_and_extract", lambda *_args, **_rest: None):
            yield


@contextmanager
def _intercept_weights(fill: Callable[[nn.Module], None]) -> Iterator[None]:
    """Have `fill` set the weights that timm and torchvision would load."""
    import timm
    import torchvision
    from torchvision.models import WeightsEnum

    create = timm.create_model

    def created(*args: Any, pretrained: bool = False, **rest: Any) -> nn.Module:
        net: nn.Module = create(*args, pretrained=False, **rest)
        if pretrained:
            fill(net)
        return net

    def state_of(weights: Any, *_args: Any, **_rest: Any) -> Mapping[str, Tensor]:
        name = type(weights).__name__.removesuffix("_Weights").lower()
        net: nn.Module = torchvision.models.get_model(name, weights=None)
        fill(net)
        return net.state_dict()

    with (
        _replace_attribute(timm, "create_model", created),
        _replace_attribute(WeightsEnum, "get_state_dict", state_of),
    ):
        yield


@contextmanager
def _replace_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def fill_in_order(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict by names, or by order where every shape agrees.

    By order the state dict may be longer than the network, since models may leave out later stages;
    of a network that is longer than the state dict, the head keeps its initial weights.

    Raises:
        MethodError: neither fits.
    """
    own = net.state_dict()
    expected = [key for key in own if not _is_counter(key)]
    given = {key: value for key, value in state.items() if not _is_counter(key)}
    if not set(given) & set(expected):
        given = dict(zip(expected, given.values(), strict=False))
    fitting = [key for key in expected if key in given and given[key].shape == own[key].shape]
    body = [key for key in expected if not key.startswith(("classifier", "fc", "head"))]
    unlike = [key for key in body if key not in fitting]
    if unlike:
        raise MethodError(
            f"the weights do not fit the model's network: {len(unlike)} of its {len(body)} tensors "
            f"are missing or have another shape (first: {unlike[0]}); next step: name the network "
            "whose weights these are in the model's arguments, such as model={backbone=NAME}"
        )
    net.load_state_dict({key: given[key] for key in fitting}, strict=False)


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")
