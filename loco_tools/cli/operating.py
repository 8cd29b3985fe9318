"""A capture session at a terminal: what to do next is printed, one key does it."""

import click

from loco_tools.capture.guide import Candidate, Guide
from loco_tools.errors import CaptureError

KEYS = (
    "Keys: Space shoots, A or N accepts, R retakes, S skips the shot, P skips the part, "
    "U undoes, Q quits."
)
_END = "U takes the last one back, any other key ends."


def operate(guide: Guide) -> None:
    """Walk through a session with the keys of the terminal until everything is done, or Q.

    Raises:
        CaptureError: the camera fails, or its settings have changed; what was accepted is kept.
    """
    click.echo(KEYS)
    while True:
        _prompt(guide)
        key = _key()
        if key in {"", "Q"} or (guide.current is None and key != "U"):
            return
        _act(guide, key)


def _prompt(guide: Guide) -> None:
    if guide.candidate is None:
        far = guide.progress()
        end = f" {_END}" if guide.current is None else ""
        click.echo(f"[{far.done}/{far.planned}] {guide.instruction()}{end}")


def _key() -> str:
    """The next key, in upper case; nothing at the end of the input."""
    try:
        return click.getchar().upper()
    except EOFError:
        return ""


def _act(guide: Guide, key: str) -> None:
    if key in {" ", "\r", "\n", "R"}:
        _show(guide.shoot())
    elif key in {"A", "N", "O"}:
        _accept(guide, override=key == "O")
    elif key in {"S", "P"}:
        skipped = guide.skip("at the terminal", whole_part=key == "P")
        click.echo(f"Skipped {skipped.part if key == 'P' else skipped.shot}.")
    elif key == "U":
        undone = guide.undo()
        click.echo(f"Took {undone.shot} back." if undone else "There is nothing to take back.")
    else:
        click.echo(KEYS)


def _show(candidate: Candidate) -> None:
    click.echo(f"Took {candidate.shot.shot}.")
    for verdict in candidate.verdicts:
        click.echo(f"  {'ok   ' if verdict.passed else 'WRONG'} {verdict.words}")
    click.echo("A accepts it, R retakes it." if candidate.passed else "R retakes it, O keeps it.")


def _accept(guide: Guide, *, override: bool) -> None:
    if guide.candidate is not None and guide.candidate.failed and not override:
        click.echo("It fails a gate: R retakes it, O keeps it nevertheless.")
        return
    try:
        shot = guide.accept(override=override)
    except CaptureError as error:  # no candidate, or a full disk: the operator can go on
        click.echo(str(error))
        return
    click.echo(f"Accepted {shot.shot}.")
