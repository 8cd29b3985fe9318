"""Weights from a local file, torchvision's cache or the internet; nothing in them is executed."""

import mmap
import pickletools
import re
import threading
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from loco_tools import files
from loco_tools.errors import MethodError
from loco_tools.methods.backbones.base import DEFAULT_WEIGHTS, FALL_BACK
from loco_tools.progress import Progress
from loco_tools.wording import printable, shortened

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Names under which checkpoints of trainings keep the parameters."""
_PREFIXES = ("module.", "backbone.")
_OLD_HEADERS = 4
"""Pickles at the start of a file of torch's format before 1.6; the last describes the tensors."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Parameters by name from a local .pth or .safetensors file; nothing in it is executed.

    A checkpoint is taken that has them under "state_dict", "model_state_dict" or "model". The
    prefixes "module." and "backbone." are removed. Half precision becomes float32.

    Raises:
        MethodError: no such file, a damaged one, one that would have to execute code, or one of
            something else; the message says what the file is.
    """
    try:
        tensors = _tensors_in(_load(path))
        return {_plain_name(name): _plain_tensor(name, one) for name, one in tensors.items()}
    except FileNotFoundError as error:
        raise MethodError(f"{path}: no such weight file") from error
    except OSError as error:
        raise MethodError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _UnusableError as error:
        raise MethodError(f"{path}: expected a state dict, got {error}") from None


class _UnusableError(Exception):
    """What a file is instead of a state dict."""


def _load(path: Path) -> Any:
    """The content of a weight file; `_UnusableError` says what else it is."""
    with files.open_regular(path) as file:
        begin = file.read(64).lstrip()
    if not begin:
        raise _UnusableError("an empty file; next step: copy or download it again")
    if begin.startswith(b"<"):
        raise _UnusableError("a web page (HTML or XML); next step: download the file itself")
    if begin.startswith(b"version https://git-lfs"):
        raise _UnusableError("a Git LFS pointer; next step: run git lfs pull")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with path.open("rb") as file:
            is_zip = zipfile.is_zipfile(file)
        if is_zip:
            _check_archive(path)
        else:
            _check_old_format(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if is_zip:
            _check_storages(path, content)
    except (_UnusableError, OSError):
        raise
    except Exception as error:  # readers of damaged files raise nearly everything
        if unknown := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise _UnusableError(
                f"a pickled object ({shortened(unknown[1])}), such as a whole model, which would "
                "have to execute code; next step: save model.state_dict() and use that file"
            ) from None
        # without torch's advice to load it in a way that executes code
        told = str(error).rpartition("WeightsUnpickler error: ")[2].partition("Check the doc")[0]
        reason = printable(shortened(" ".join(told.split()) or type(error).__name__, 160))
        raise _UnusableError(
            f"a damaged file or one of another format ({reason}); next step: copy or download it "
            "again"
        ) from None
    return content


def _check_archive(path: Path) -> None:
    """Refuse TorchScript, and archives whose content would be larger than the file."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any("/code/" in entry.filename for entry in entries):
        raise _UnusableError(
            "a TorchScript program, which holds code; next step: save model.state_dict() of the "
            "model that it was made from and use that file"
        )
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its parts are larger than the file")


def _check_old_format(path: Path) -> None:
    """Refuse a file of torch's format before 1.6 that asks for more memory than it has bytes."""
    size = path.stat().st_size
    with (
        files.open_regular(path) as file,
        # a file would allocate as many bytes as a text claims to have
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for number in range(_OLD_HEADERS):
            for _, argument, _ in pickletools.genops(cast(IO[bytes], content)):
                of_tensors = number == _OLD_HEADERS - 1
                if of_tensors and isinstance(argument, int) and argument > size:
                    raise ValueError("a tensor is larger than the file")


def _check_storages(path: Path, content: Any) -> None:
    """Refuse tensors whose memory is not as large as a part of the archive: torch does not check.

    Reading them could read beyond the part.
    """
    with zipfile.ZipFile(path) as archive:
        parts = Counter(e.file_size for e in archive.infolist() if "/data/" in e.filename)
    storages = {s.data_ptr(): s.nbytes() for s in _storages(content)}
    if Counter(size for size in storages.values() if size) - parts:
        raise ValueError("a tensor has another size than its part of the file")


def _storages(content: Any) -> Iterator[torch.UntypedStorage]:
    """The memory of all tensors in nested dictionaries and sequences."""
    pending = [content]
    while pending:
        one = pending.pop()
        if isinstance(one, Tensor):
            if one.layout != torch.strided or one.is_quantized:
                raise ValueError("sparse or quantised tensors")
            yield one.untyped_storage()
        elif isinstance(one, dict):
            pending += [*one, *one.values()]
        elif isinstance(one, (list, tuple, set)):
            pending += one
        elif isinstance(one, torch.TypedStorage):
            yield one._untyped_storage


def _tensors_in(content: Any) -> dict[str, Tensor]:
    """The dictionary of tensors in a checkpoint."""
    for _ in range(3):
        inner = content if isinstance(content, dict) else {}
        nested = next((inner[key] for key in _WRAPPERS if isinstance(inner.get(key), dict)), None)
        if nested is None:
            break
        content = nested
    if not isinstance(content, dict) or not content:
        raise _UnusableError(
            f"{type(content).__name__} without tensors; expected a dictionary of tensors"
        )
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise _UnusableError(
            f"a dictionary with other entries than tensors ({printable(shortened(str(others[0])))})"
            "; next step: save model.state_dict() and use that file"
        )
    return {str(key): value for key, value in content.items()}


def _plain_name(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def _plain_tensor(name: str, value: Tensor) -> Tensor:
    """A parameter as float32, a counter as it is."""
    shown = printable(shortened(name))
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise _UnusableError(f'"{shown}" as a {value.dtype} tensor; expected real numbers')
    if not value.is_floating_point():
        return value.detach()
    numbers = value.detach().float()
    if not torch.isfinite(numbers).all():
        raise _UnusableError(
            f'NaN or infinity in "{shown}": a training that failed, or a damaged file'
        )
    return numbers


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
    expected = _digest_in(cached.name)
    if not cached.exists():
        if not _server_answers(url):
            raise MethodError(unavailable)
        progress.note(f"Downloading {url}")
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(cached), expected, progress=False)
        except (OSError, RuntimeError) as error:
            raise MethodError(f"{unavailable} ({error})") from error
    digest = files.sha256_of(cached)
    if not digest.startswith(expected):
        raise MethodError(
            f"{cached}: expected the download whose SHA-256 begins with {expected}, as its name "
            f"says, got {digest[:8]}; next step: remove that file to download it again"
        )
    return read_state(cached)


def _digest_in(name: str) -> str:
    """The first digits of the SHA-256 that torchvision's file names end with.

    >>> _digest_in("resnet18-f37072fd.pth")
    'f37072fd'
    """
    found = re.search(r"-([0-9a-f]{8,64})\.", name)
    return found[1] if found else ""


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
