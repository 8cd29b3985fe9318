"""Output folders are replaced whole, so what must survive may not lie in them."""

from collections.abc import Iterable
from pathlib import Path

from loco_tools.errors import AnnotationError


def check_spares(target: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output folder that holds an input or the current folder.

    Raises:
        AnnotationError: the message names what would be lost.
    """
    for kept in (*inputs, Path.cwd()):
        if kept.resolve().is_relative_to(target.resolve()):
            raise AnnotationError(
                f"{target}: would be replaced, but holds {kept}; next step: another --out"
            )
