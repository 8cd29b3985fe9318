"""A capture session on disk: `captures/<class>/<session>/`.

`session.json` says under which conditions the photographs were taken, `shots.jsonl` is an
append-only journal with one line per accepted shot, `images/` holds the photographs. A simulated
session also has `truth/<shot>/<n>_<defect>.png`, one exact mask (0/255) per defect instance.

A shot enters the journal after its image is safely on the disk, so a session that was interrupted
at any moment lacks at most the shot in flight, and whoever opens it again can go on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from loco_tools import files
from loco_tools.errors import CaptureError
from loco_tools.plan import Kind, Plan, Split
from loco_tools.schema import Schema, read_json

RECORD = "session.json"
JOURNAL = "shots.jsonl"


class CameraRecord(Schema):
    """Which camera took the photographs, what was asked of it, and what it did."""

    identity: str
    requested: dict[str, float | str]
    actual: dict[str, float | str]


class Session(Schema):
    """What `session.json` holds. `px_per_mm` is the scale in the part's plane, by view."""

    schema_version: Literal[1] = 1
    session: str
    created: str
    loco_tools: str
    simulated: bool
    seed: int | None
    camera: CameraRecord
    px_per_mm: dict[str, float]
    plan: Plan

    @property
    def name(self) -> str:
        """The class that was photographed."""
        return self.plan.name


class Shot(Schema):
    """One line of the journal. `file` is relative to the session's folder."""

    shot: str
    split: Split
    kind: Kind
    defect: str | None
    part: str
    view: str
    file: str
    sha256: str
    simulated: bool
    measurements: dict[str, float]


@dataclass(frozen=True)
class Progressed:
    """How far a session is: shots in the journal, shots in the plan."""

    done: int
    planned: int

    @property
    def finished(self) -> bool:
        """Whether every planned shot is in the journal."""
        return self.done >= self.planned


def read_session(folder: Path) -> Session:
    """The record of a session.

    Raises:
        CaptureError: the folder holds no session.
        DefinitionError: its record is damaged.
    """
    if not (folder / RECORD).is_file():
        raise CaptureError(
            f"{folder}: expected a capture session with a {RECORD}, found none; "
            "next step: loco-tools capture --class NAME"
        )
    return read_json(Session, folder / RECORD)


def write_session(folder: Path, session: Session) -> None:
    """Write the record of a session, atomically."""
    files.write_text(folder / RECORD, session.model_dump_json(indent=2) + "\n")


def read_shots(folder: Path) -> list[Shot]:
    """The accepted shots in the order they were taken.

    A last line without its line end is a shot that was in flight when the power went: it is left
    out. Two lines for one shot are a retake: the later one counts, at the earlier one's place.

    Raises:
        CaptureError: any other line is damaged; the message names it.
    """
    journal = folder / JOURNAL
    if not journal.is_file():
        return []
    lines = journal.read_bytes().split(b"\n")[:-1]
    shots: dict[str, Shot] = {}
    for number, line in enumerate(lines, start=1):
        try:
            shot = Shot.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise CaptureError(
                f"{journal}, line {number}: expected a shot, got a damaged line ({fault['msg']}); "
                "next step: restore the journal from a copy, or remove that line to take the "
                "shot again"
            ) from error
        shots[shot.shot] = shot
    return list(shots.values())


def append_shot(folder: Path, shot: Shot) -> None:
    """Add a shot to the journal and sync it to the disk."""
    files.append_line(folder / JOURNAL, shot.model_dump_json())


def mend_journal(folder: Path) -> bool:
    """Cut off a last line that was being written when the session broke off.

    Returns:
        Whether there was one.
    """
    journal = folder / JOURNAL
    if not journal.is_file():
        return False
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return False
    files.write_bytes(journal, content[:whole])
    return True


def progress_of(folder: Path) -> Progressed:
    """How many of the planned shots a session has."""
    planned = {planned.shot for planned in read_session(folder).plan.planned_shots()}
    done = {shot.shot for shot in read_shots(folder)}
    return Progressed(len(done & planned), len(planned))


def sessions_of(class_folder: Path) -> list[Path]:
    """The session folders of a class, oldest name first."""
    return sorted(path.parent for path in class_folder.glob(f"*/{RECORD}"))


def truth_files(folder: Path, shot: str) -> list[tuple[str, Path]]:
    """The defect name and mask file of each defect that a simulated shot is known to show."""
    masks = sorted(
        (folder / "truth" / shot).glob("*.png"), key=lambda path: int(path.stem.split("_")[0])
    )
    return [(path.stem.split("_", 1)[1], path) for path in masks]


def same_plan(session: Session, plan: Plan) -> bool:
    """Whether a session was begun with exactly this plan."""
    return session.plan == plan
