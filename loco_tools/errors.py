"""The exceptions that loco-tools raises, as one family.

A message says what is wrong, what was expected, what was found, and what to do next. The command
line prints the message in one place (`loco_tools.cli`) and ends with exit code 1.
"""

import difflib
from collections.abc import Iterable


class LocoToolsError(Exception):
    """The base class; the message is written for the person who uses loco-tools."""


class DefinitionError(LocoToolsError):
    """A plan, taxonomy, suite or other edited file is missing or wrong."""


class DatasetError(LocoToolsError):
    """A dataset class, an image, a mask or an anomaly map cannot be used as it is."""


class DatasetWarning(UserWarning):
    """A dataset class has files that are not used, or faults that change its metrics."""


class CaptureError(LocoToolsError):
    """A camera or a capture session cannot go on."""


class AnnotationError(LocoToolsError):
    """An annotation export cannot be read or turned into masks."""


class LabelStudioError(LocoToolsError):
    """A Label Studio server cannot be reached or has refused a request.

    `temporary` is true when the same request may succeed later.
    """

    def __init__(self, message: str, *, temporary: bool = False) -> None:
        super().__init__(message)
        self.temporary = temporary


class MethodError(LocoToolsError):
    """A detector, backbone or ensemble is unknown, misused or cannot be fitted."""


class BenchmarkError(LocoToolsError):
    """A benchmark run cannot be started, continued or reported."""


class MissingExtraError(LocoToolsError):
    """A command needs a part of loco-tools that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}', which is not installed; "
            f"next step: pip install 'loco-tools[{extra}]'"
        )


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name and all known names; the list is never cut.

    >>> did_you_mean("patchore", ["patchcore", "simplenet"])
    'did you mean "patchcore"? (known: patchcore, simplenet)'
    """
    names = sorted(known)
    listing = ", ".join(names) or "none"
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    return f'did you mean "{near[0]}"? (known: {listing})' if near else f"known: {listing}"
