"""Conformance checks for plug-ins: detectors and cameras of your own, to be called in your tests.

They need no test framework: a check that fails raises AssertionError with a message that says what
was expected, what was found, and what to do next.
"""

from typing import TYPE_CHECKING, Any

from loco_tools.testing.cameras import check_camera

if TYPE_CHECKING:
    from loco_tools.testing.detectors import check_detector

__all__ = ["check_camera", "check_detector"]


def __getattr__(name: str) -> Any:
    """Import `check_detector`, and torch with it, when it is used."""
    if name == "check_detector":
        from loco_tools.testing.detectors import check_detector

        return check_detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
