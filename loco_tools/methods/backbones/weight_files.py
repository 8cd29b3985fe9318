"""Weights from a local file, torchvision's cache or the internet; nothing in them is executed."""

import threading
import urllib.request
from pathlib import Path

import torch
from torch import Tensor

from loco_tools.errors import MethodError
from loco_tools.methods.backbones.base import DEFAULT_WEIGHTS, FALL_BACK
from loco_tools.progress import Progress


def read_state(path: Path) -> dict[str, Tensor]:
    """Parameters by name from a local .pth or .safetensors file.

    Raises:
        MethodError: no such file, a damaged one, or one that would have to execute code.
    """
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


def torchvision_state(name: str, progress: Progress) -> dict[str, Tensor]:
    """Torchvision's first ImageNet weights, from its cache or the internet.

    Raises:
        MethodError: torchvision has none for this network, or they are neither cached nor
            downloadable.
    """
    from torchvision import models

    choices = models.get_model_weights(name).__members__
    if DEFAULT_WEIGHTS not in choices:
        raise MethodError(f'backbone "{name}": torchvision has no {DEFAULT_WEIGHTS} weights for it')
    url = str(choices[DEFAULT_WEIGHTS].url)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    unavailable = (
        f"The ImageNet weights of {name} are neither cached nor downloadable; next step: "
        f"--backbone {name} --weights FILE with a local copy, or --backbone {FALL_BACK}"
    )
    if not cached.exists():
        if not _server_answers(url):
            raise MethodError(unavailable)
        progress.note(f"Downloading {url}")
    try:
        return torch.hub.load_state_dict_from_url(url, progress=False, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise MethodError(f"{unavailable} ({error})") from error


def _server_answers(url: str, timeout_s: float = 4.0) -> bool:
    """Whether `url` answers in time; a thread bounds name resolution too, which has no timeout."""
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - torchvision's https URL
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310
                answers.append(True)
        except OSError:
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(answers and answers[0])
