"""A capture session on disk: `captures/<class>/<session>/`.

`session.json` says under which conditions the photographs were taken, `shots.jsonl` is an
append-only journal, `images/` holds the photographs. A simulated session also has
`truth/<shot>/<n>_<defect>.png`, one exact mask (0/255) per defect instance.

The journal has one line per accepted shot, and one line (`Mark`) whenever an operator skips a shot
or takes a shot or a skip back. A shot enters it after its image is safely on the disk, and is taken
back before its image goes, so a session that was interrupted at any moment lacks at most the shot
in flight, and whoever opens it again can go on.
"""

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from loco_tools import files
from loco_tools.capture.calibration.record import Calibration
from loco_tools.errors import CaptureError, DefinitionError
from loco_tools.plan import Kind, Plan, Split
from loco_tools.schema import Schema, read_json

RECORD = "session.json"
JOURNAL = "shots.jsonl"


OverriddenBy = Literal["operator", "unattended"]


class CameraRecord(Schema):
    """Which camera took the photographs, what was asked of it, and what it did."""

    identity: str
    requested: dict[str, float | str]
    actual: dict[str, float | str]


class Session(Schema):
    """What `session.json` holds.

    `px_per_mm` is the scale in the part's plane, by view: that of the calibration, or the one that
    a simulated camera has by construction; empty when nobody knows it.
    """

    schema_version: Literal[1] = 1
    session: str
    created: str
    loco_tools: str
    simulated: bool
    seed: int | None
    camera: CameraRecord
    px_per_mm: dict[str, float]
    calibration: Calibration | None = None
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
    file: Annotated[str, Field(pattern=r"^images/[^/\\]+\.png$")]
    sha256: str
    simulated: bool
    measurements: dict[str, float]
    overridden: tuple[str, ...] = ()
    """Quality gates that the photograph failed and that were overridden."""

    overridden_by: OverriddenBy | None = None

    taken: str | None = None
    """When it was taken, ISO 8601 with the offset; None when it is simulated."""


class Mark(Schema):
    """A line of the journal that is no photograph: the shot was skipped, or is open again."""

    shot: str
    mark: Literal["skipped", "undone"]
    reason: str = ""


Entry = Shot | Mark


@dataclass(frozen=True)
class Progressed:
    """How far a session is: shots in the journal, shots in the plan, shots skipped."""

    done: int
    planned: int
    skipped: int = 0

    @property
    def finished(self) -> bool:
        """Whether every planned shot is in the journal or was skipped."""
        return self.done + self.skipped >= self.planned


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
    try:
        return read_json(Session, folder / RECORD)
    except DefinitionError as error:
        raise DefinitionError(
            f"{error}; next step: restore {RECORD} from a copy, or begin anew with --new"
        ) from error


def write_session(folder: Path, session: Session) -> None:
    """Write the record of a session, atomically."""
    files.write_text(folder / RECORD, session.model_dump_json(indent=2) + "\n")


def read_shots(folder: Path) -> list[Shot]:
    """The accepted shots that still count, in the order they were taken.

    A last line without its line end is a shot that was in flight when the power went: it is left
    out. Two lines for one shot are a retake: the later one counts, at the earlier one's place. A
    shot that was taken back does not count.

    Raises:
        CaptureError: any other line is damaged; the message names it.
    """
    return [entry for entry in settled(folder).values() if isinstance(entry, Shot)]


def settled(folder: Path) -> dict[str, Entry]:
    """What the journal says of each shot that is not open, by its name: taken, or skipped.

    Raises:
        CaptureError: as for `read_shots`.
    """
    found: dict[str, Entry] = {}
    for entry in _entries(folder / JOURNAL):
        if isinstance(entry, Mark) and entry.mark == "undone":
            found.pop(entry.shot, None)
        else:
            found[entry.shot] = entry
    return found


def _entries(journal: Path) -> Iterator[Entry]:
    if not journal.is_file():
        return
    for number, line in enumerate(journal.read_bytes().split(b"\n")[:-1], start=1):
        try:
            yield _entry(line)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise CaptureError(
                f"{journal}, line {number}: expected a shot or a mark, got a damaged line "
                f"({fault['msg']}); next step: restore the journal from a copy, or remove that "
                "line to take the shot again"
            ) from error


def _entry(line: bytes) -> Entry:
    # a quote within a text of the line would be escaped
    return (Mark if b'"mark":' in line else Shot).model_validate_json(line)


def append(folder: Path, *entries: Entry) -> None:
    """Add lines to the journal and sync them to the disk; on a failure it is as it was."""
    lines = "\n".join(entry.model_dump_json() for entry in entries)
    files.append_line(folder / JOURNAL, lines)


def append_shot(folder: Path, shot: Shot) -> None:
    """Add a shot to the journal and sync it to the disk."""
    append(folder, shot)


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


def clear_unfinished(folder: Path) -> None:
    """Remove files whose writing broke off; only for whoever holds the session's lock."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def progress_of(folder: Path) -> Progressed:
    """How many of the planned shots a session has, and how many were skipped."""
    planned = {planned.shot for planned in read_session(folder).plan.planned_shots()}
    found = [entry for name, entry in settled(folder).items() if name in planned]
    done = sum(isinstance(entry, Shot) for entry in found)
    return Progressed(done, len(planned), len(found) - done)


def sessions_of(class_folder: Path) -> list[Path]:
    """The session folders of a class in the order they were begun; damaged ones come first."""
    found = [path.parent for path in class_folder.glob(f"*/{RECORD}")]
    return sorted(found, key=lambda folder: (_begun(folder), folder.name))


def _begun(folder: Path) -> datetime.datetime:
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        begun = datetime.datetime.fromisoformat(content["created"])
    except (OSError, ValueError, KeyError, TypeError):
        begun = datetime.datetime.min
    return begun if begun.tzinfo else begun.replace(tzinfo=datetime.UTC)


def truth_files(folder: Path, shot: str) -> list[tuple[str, Path]]:
    """The defect name and mask file of each defect that a simulated shot is known to show."""
    masks = sorted(
        (folder / "truth" / shot).glob("*.png"), key=lambda path: int(path.stem.split("_")[0])
    )
    return [(path.stem.split("_", 1)[1], path) for path in masks]


def same_plan(session: Session, plan: Plan) -> bool:
    """Whether a session was begun with exactly this plan."""
    return session.plan == plan
