"""A guard for output folders, which are replaced as a whole: no input may lie in them."""

from collections.abc import Iterable
from pathlib import Path

from loco_tools.errors import AnnotationError


def check_holds_no_input(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output folder that contains an input or the current folder.

    Raises:
        AnnotationError: the message names the path that would be lost.
    """
    for path in (*inputs, Path.cwd()):
        if path.resolve().is_relative_to(output.resolve()):
            raise AnnotationError(
                f"{output}: would be replaced, but holds {path}; next step: another --out"
            )
