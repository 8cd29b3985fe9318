"""A capture session on disk: `captures/<class>/<session>/`.

`session.json` records the conditions under which the photographs are taken, `shots.jsonl` is an
append-only journal, and `images/` holds the photographs. A simulated session also has
`truth/<shot>/<n>_<defect>.png`, one exact mask (0/255) per defect instance.

The journal has one line for each accepted photograph (`Shot`), and one line (`StatusChange`)
whenever an operator skips a shot, or undoes a photograph or a skip. The line of a photograph is
written after its image is safely on the disk, and an undo is written before the image is deleted.
A session that is interrupted at any moment therefore lacks at most the shot that was being taken,
and can be continued.
"""

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from loco_tools import files
from loco_tools.capture.calibration.record import CameraCalibration
from loco_tools.errors import CaptureError, DefinitionError
from loco_tools.plan import Kind, Plan, Split
from loco_tools.schema import Schema, loads_json, read_json

RECORD = "session.json"
JOURNAL = "shots.jsonl"


OverriddenBy = Literal["operator", "unattended"]


class CameraRecord(Schema):
    """The camera of a session, the settings of the plan and the settings that were read back."""

    identity: str
    requested: dict[str, float | str]
    actual: dict[str, float | str]


class Session(Schema):
    """The content of `session.json`.

    `px_per_mm` is the scale in the part's plane for each view. It comes from the calibration, or
    from a simulated camera, which knows its scale exactly; it is empty if the scale is unknown.
    """

    schema_version: Literal[1] = 1
    session: str
    number: int = 0
    """Sessions of a class are numbered from 1 as they are begun; 0: begun by an older version."""

    created: str
    loco_tools: str
    simulated: bool
    seed: int | None
    camera: CameraRecord
    px_per_mm: dict[str, float]
    calibration: CameraCalibration | None = None
    plan: Plan

    @property
    def name(self) -> str:
        """The class that was photographed."""
        return self.plan.name


class Shot(Schema):
    """A line of the journal: one accepted photograph. `file` is relative to the session folder."""

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


class StatusChange(Schema):
    """A line of the journal without a photograph: a shot was skipped, or was opened again."""

    shot: str
    mark: Literal["skipped", "undone"]
    reason: str = ""


JournalEntry = Shot | StatusChange


@dataclass(frozen=True)
class SessionProgress:
    """The number of shots that are done (photographed), planned and skipped."""

    done: int
    planned: int
    skipped: int = 0

    @property
    def finished(self) -> bool:
        """Whether every planned shot was photographed or skipped."""
        return self.done + self.skipped >= self.planned


def read_session(folder: Path) -> Session:
    """Read the record of a session.

    Raises:
        CaptureError: the folder holds no session.
        DefinitionError: the record is damaged.
    """
    if not (folder / RECORD).is_file():
        raise CaptureError(
            f"{folder}: expected a capture session with a {RECORD}, found none; "
            "next step: loco-tools capture --class NAME"
        )
    try:
        return read_json(Session, folder / RECORD)
    except DefinitionError as error:
        fault, _, _ = str(error).partition("; next step: ")
        raise DefinitionError(
            f"{fault}; next step: restore {RECORD} from a copy, or begin a new session with --new"
        ) from error


def write_session(folder: Path, session: Session) -> None:
    """Write the record of a session, atomically."""
    files.write_text(folder / RECORD, session.model_dump_json(indent=2) + "\n")


def read_shots(folder: Path) -> list[Shot]:
    """The photographs that a session holds, in the order they were taken.

    A last line without a line end was being written when the power went, so it is ignored. If
    the journal has two lines for one shot, the later line counts and keeps the position of the
    earlier one. A shot that was undone is left out.

    Raises:
        CaptureError: another line of the journal is damaged; the message gives its number.
    """
    return [entry for entry in read_journal(folder).values() if isinstance(entry, Shot)]


def read_journal(folder: Path) -> dict[str, JournalEntry]:
    """The latest journal entry of every shot that is done or skipped, by the shot's name.

    Raises:
        CaptureError: see `read_shots`.
    """
    journal = folder / JOURNAL
    entries: dict[str, JournalEntry] = {}
    lines = files.read_bytes(journal).split(b"\n")[:-1] if journal.exists() else []
    for number, line in enumerate(lines, start=1):
        # A quotation mark inside a text is escaped in JSON, so this finds the key alone.
        model: type[JournalEntry] = StatusChange if b'"mark":' in line else Shot
        try:
            entry = model.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise CaptureError(
                f"{journal}, line {number}: expected a shot or a change of status, got a damaged "
                f"line ({fault['msg']}); next step: restore the journal from a copy, or remove "
                "that line to take the shot again"
            ) from error
        if isinstance(entry, StatusChange) and entry.mark == "undone":
            entries.pop(entry.shot, None)
        else:
            entries[entry.shot] = entry
    return entries


def append_to_journal(folder: Path, *entries: JournalEntry) -> None:
    """Add lines to the journal and sync them to the disk; a failure leaves it unchanged."""
    lines = "\n".join(entry.model_dump_json() for entry in entries)
    files.append_line(folder / JOURNAL, lines)


def repair_journal(folder: Path) -> bool:
    """Remove a last line that was only partly written when the session was interrupted.

    Returns:
        Whether there was such a line.
    """
    journal = folder / JOURNAL
    if not journal.is_file():
        return False
    content = journal.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete == len(content):
        return False
    files.write_bytes(journal, content[:complete])
    return True


def remove_temporary_files(folder: Path) -> None:
    """Remove files that were only partly written; the caller must hold the session's lock."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def progress_of(folder: Path) -> SessionProgress:
    """Read how many of the planned shots of a session are done and how many were skipped."""
    planned = {planned.shot for planned in read_session(folder).plan.planned_shots()}
    return count_progress(planned, read_journal(folder))


def count_progress(
    planned: Collection[str], journal: Mapping[str, JournalEntry]
) -> SessionProgress:
    """Count the planned shots that are done or skipped according to `read_journal`."""
    entries = [entry for shot, entry in journal.items() if shot in planned]
    done = sum(isinstance(entry, Shot) for entry in entries)
    return SessionProgress(done, len(planned), len(entries) - done)


def list_sessions(class_folder: Path) -> list[Path]:
    """The session folders of a class in the order they were begun; damaged ones come first.

    The order is that of the sessions' numbers and not of the clock, which may be set back. Sessions
    of older versions have no number and come before those that have; among them the time counts.
    """
    folders = (path.parent for path in class_folder.glob(f"*/{RECORD}"))
    return sorted(folders, key=_place_of)


def next_number(class_folder: Path) -> int:
    """The number of the next session of a class."""
    return max((_place_of(folder)[0] for folder in list_sessions(class_folder)), default=0) + 1


def _place_of(folder: Path) -> tuple[int, datetime.datetime, str]:
    """The number, the time of the beginning and the name of a session, which may be damaged."""
    number, created = 0, datetime.datetime.min
    try:
        content = loads_json(files.read_bytes(folder / RECORD))
        created = datetime.datetime.fromisoformat(content["created"])
        number = int(content.get("number", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        pass
    if created.tzinfo is None:
        created = created.replace(tzinfo=datetime.UTC)
    return number, created, folder.name


def truth_files(folder: Path, shot: str) -> list[tuple[str, Path]]:
    """The name and the mask file of each defect that a simulated shot shows."""
    masks = sorted(
        (folder / "truth" / shot).glob("*.png"), key=lambda path: int(path.stem.split("_")[0])
    )
    return [(path.stem.split("_", 1)[1], path) for path in masks]
