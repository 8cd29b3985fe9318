"""The optional parts of an installation (extras), and the check that one is installed."""

import importlib.util

from loco_tools.errors import MissingExtraError

MODULES = {
    "anomalib": ("anomalib", "lightning", "safetensors", "torch"),
    "basler": ("pypylon",),
    "bench": ("psutil", "safetensors", "sklearn", "torch", "torchvision"),
    "genicam": ("genicam", "harvesters"),
    "hub": ("datasets", "huggingface_hub"),
    "labelstudio": ("httpx", "label_studio_sdk"),
    "mlflow": ("alembic", "mlflow", "sqlalchemy"),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "station": ("fastapi", "uvicorn"),
    "tensorboard": ("tensorboard",),
    "twin": ("manifold3d", "mitsuba", "scipy", "shapely"),
    "uvc": ("cv2_enumerate_cameras",),
}
"""Extra -> the modules that it installs."""


def require(what: str, extra: str) -> None:
    """Check that an extra is installed, without importing it.

    Args:
        what: what needs the extra; the message begins with it.
        extra: a key of `MODULES`.

    Raises:
        MissingExtraError: a module of the extra is missing.
    """
    if any(importlib.util.find_spec(module) is None for module in MODULES[extra]):
        raise MissingExtraError(what, extra)
