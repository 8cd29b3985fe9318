"""From a camera and a table of metal parts to a trustworthy anomaly-detection benchmark.

    >>> import loco_tools
    >>> dataset = loco_tools.load("data/angle")               # doctest: +SKIP
    >>> loco_tools.evaluate("maps/angle", dataset).metrics    # doctest: +SKIP

What is offered here is imported when it is first used, so that `import loco_tools` stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loco_tools.datasets import find_classes, load
    from loco_tools.evaluation import evaluate_folder as evaluate

__all__ = ["evaluate", "find_classes", "load"]


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name == "evaluate":
        from loco_tools.evaluation import evaluate_folder

        return evaluate_folder
    if name in __all__:
        from loco_tools import datasets

        return getattr(datasets, name)
    raise AttributeError(f"module 'loco_tools' has no attribute {name!r}")
