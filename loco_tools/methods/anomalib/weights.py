"""Local weights for the pretrained networks inside anomalib's models.

anomalib has no way to name a local file: a model asks timm or torchvision for its network by name,
deep inside its constructor. Here that request is answered instead.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from loco_tools.errors import MethodError


@contextmanager
def pretrained_networks(state: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Networks that are asked for with weights get `state`; None: timm and torchvision fetch them.

    Raises:
        MethodError: `state` does not fit the network asked for.
    """
    if state is None:
        yield
        return
    with _answered(lambda net: fill_in_order(net, state)):
        yield


@contextmanager
def no_downloads(model: Any) -> Iterator[None]:
    """Networks that are asked for with weights get none, and data sets are not fetched.

    Args:
        model: the class of anomalib that is about to be built, whose saved weights will follow.
    """
    module: Any = sys.modules[model.__module__]
    with _answered(lambda _net: None):
        if not hasattr(module, "download_and_extract"):
            yield
            return
        with _replaced(module, "download_and_extract", lambda *_args, **_rest: None):
            yield


@contextmanager
def _answered(fill: Callable[[nn.Module], None]) -> Iterator[None]:
    """Whatever timm and torchvision would load is filled by `fill` instead."""
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
        _replaced(timm, "create_model", created),
        _replaced(WeightsEnum, "get_state_dict", state_of),
    ):
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def fill_in_order(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict by names, or by order where every shape agrees.

    By order it may be longer than the network, whose later stages a model may have left out; a
    network that is longer than it keeps its head (what has no name in common) as it is.

    Raises:
        MethodError: neither fits.
    """
    own = net.state_dict()
    wanted = [key for key in own if not _is_counter(key)]
    given = {key: value for key, value in state.items() if not _is_counter(key)}
    if not set(given) & set(wanted):
        given = dict(zip(wanted, given.values(), strict=False))
    found = [key for key in wanted if key in given and given[key].shape == own[key].shape]
    body = [key for key in wanted if not key.startswith(("classifier", "fc", "head"))]
    unlike = [key for key in body if key not in found]
    if unlike:
        raise MethodError(
            f"the weights do not fit the model's network: {len(unlike)} of its {len(body)} tensors "
            f"are missing or have another shape (first: {unlike[0]}); next step: name the network "
            "whose weights these are in the model's arguments, such as model={backbone=NAME}"
        )
    net.load_state_dict({key: given[key] for key in found}, strict=False)


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")
