"""A capture session at a terminal: each instruction is printed, and one key carries it out."""

import click

from loco_tools.capture.guide import Guide
from loco_tools.cli.printing import echo
from loco_tools.errors import CaptureError

KEYS = (
    "Keys: Space shoots, A or N accepts, R retakes, S skips the shot, P skips the part, "
    "U undoes, Q quits."
)
_END = "U undoes the last one, any other key ends."


def operate(guide: Guide) -> None:
    """Run a session with the keys of the terminal until everything is done, or Q is pressed.

    Raises:
        CaptureError: the camera fails, or its settings have changed; accepted shots are kept.
    """
    echo(KEYS)
    while True:
        if guide.candidate is None:
            far = guide.progress()
            end = f" {_END}" if guide.current is None else ""
            echo(f"[{far.done}/{far.planned}] {guide.instruction()}{end}")
        try:
            key = click.getchar().upper()
        except EOFError:
            key = ""
        if key in {"", "Q"} or (guide.current is None and key != "U"):
            return
        _handle_key(guide, key)


def _handle_key(guide: Guide, key: str) -> None:
    if key in {" ", "\r", "\n", "R"}:
        candidate = guide.shoot()
        echo(f"Took {candidate.shot.shot}.")
        for verdict in candidate.verdicts:
            echo(f"  {'ok   ' if verdict.passed else 'WRONG'} {verdict.words}")
        choices = "A accepts it, R retakes it." if candidate.passed else "R retakes it, O keeps it."
        echo(choices)
    elif key in {"A", "N", "O"}:
        _accept(guide, override=key == "O")
    elif key in {"S", "P"}:
        skipped = guide.skip("at the terminal", whole_part=key == "P")
        echo(f"Skipped {skipped.part if key == 'P' else skipped.shot}.")
    elif key == "U":
        undone = guide.undo()
        echo(f"Reopened {undone.shot}." if undone else "There is nothing to undo.")
    else:
        echo(KEYS)


def _accept(guide: Guide, *, override: bool) -> None:
    if guide.candidate is not None and guide.candidate.failed and not override:
        echo("It fails a gate: R retakes it, O keeps it anyway.")
        return
    try:
        shot = guide.accept(override=override)
    except CaptureError as error:  # No candidate, or a full disk: the operator can continue.
        echo(str(error))
        return
    echo(f"Accepted {shot.shot}.")
