"""The state that the camera worker publishes; all pages of a station show the same."""

from collections.abc import Mapping, Sequence
from typing import Literal

from loco_tools.capture.guide import Guide, Step
from loco_tools.capture.session import JournalEntry, Shot
from loco_tools.capture.session_opening import DriftError
from loco_tools.errors import CaptureError, LocoToolsError
from loco_tools.plan import PlannedShot
from loco_tools.schema import Schema

Phase = Literal["aim", "review", "finished"]
NEXT_STEP = "next step: "


class Fault(Schema):
    """A fault: what is wrong, and what to do about it.

    `stops` means that nothing can be photographed until the camera is reconnected.
    """

    words: str
    next_step: str
    stops: bool = False


class ShotState(Schema):
    """A planned shot. `picture` identifies its photograph's content; None if there is none."""

    shot: str
    view: str
    status: Literal["open", "done", "skipped"]
    picture: str | None
    overridden: tuple[str, ...]


class PartState(Schema):
    """A part with its shots; `condition` is "good" or the name of the defect."""

    number: int
    condition: str
    split: str
    shots: tuple[ShotState, ...]


class VerdictState(Schema):
    """See `loco_tools.capture.checks.gates.Verdict`."""

    gate: str
    value: float | None
    limit: float | None
    passed: bool
    words: str


class CandidateState(Schema):
    """The photograph that waits for the operator's decision, with a number of its own."""

    number: int
    shot: str
    passed: bool
    verdicts: tuple[VerdictState, ...]


class CurrentState(Schema):
    """The shot to take now.

    Attributes:
        is_mounted: whether its part is on the table already.
        camera_position: where the camera stands, in words.
        reference: address of the picture of the view's reference; None if there is none.
    """

    shot: str
    part: int
    is_mounted: bool
    condition: str
    good: bool
    view: str
    view_number: int
    camera_position: str
    reference: str | None


class State(Schema):
    """The whole state. `turn` counts commands; a command has to name the turn that it refers to."""

    version: int
    turn: int
    phase: Phase
    busy: bool
    instruction: str
    done: int
    skipped: int
    planned: int
    views: int
    parts: tuple[PartState, ...]
    current: CurrentState | None
    candidate: CandidateState | None
    fault: Fault | None


def make_state(
    guide: Guide,
    journal: Mapping[str, JournalEntry],
    *,
    version: int,
    turn: int,
    fault: Fault | None,
) -> State:
    """The state of a guide. It reads the guide, so it has to run on the guide's thread."""
    far, steps, candidate = guide.progress(), guide.steps(), guide.candidate
    phase: Phase = "finished" if guide.current is None else "aim"
    by_part: dict[str, list[Step]] = {}
    for step in steps:
        by_part.setdefault(step.shot.part, []).append(step)
    return State(
        version=version,
        turn=turn,
        phase="review" if candidate is not None else phase,
        busy=False,
        instruction=guide.instruction(),
        done=far.done,
        skipped=far.skipped,
        planned=far.planned,
        views=len(guide.record.plan.views),
        parts=tuple(
            PartState(
                number=number,
                condition=_condition(part[0].shot),
                split=part[0].shot.split,
                shots=tuple(_shot_state(step, journal.get(step.shot.shot)) for step in part),
            )
            for number, part in enumerate(by_part.values(), start=1)
        ),
        current=_current_state(guide, list(by_part), steps, journal),
        candidate=candidate
        and CandidateState(
            number=turn,
            shot=candidate.shot.shot,
            passed=candidate.passed,
            verdicts=tuple(
                VerdictState(
                    gate=_words(verdict.gate),
                    value=_finite(verdict.value),
                    limit=_finite(verdict.limit),
                    passed=verdict.passed,
                    words=verdict.words,
                )
                for verdict in candidate.verdicts
            ),
        ),
        fault=fault,
    )


def fault_of(error: LocoToolsError) -> Fault:
    """Split an error into its description and its next step."""
    words, _, next_step = str(error).partition(NEXT_STEP)
    stops = isinstance(error, DriftError)
    return Fault(words=words.rstrip("; "), next_step=next_step, stops=stops)


def passing_fault(error: OSError) -> CaptureError:
    """The error that explains a fault of the operating system; the station goes on after it."""
    where = f"{error.filename}: " if error.filename else ""
    return CaptureError(
        f"{where}{error.strerror or repr(error)}; next step: do the same again; if this stays, "
        "look after this computer: its disk, its network, what else is open on it"
    )


def _shot_state(step: Step, entry: JournalEntry | None) -> ShotState:
    taken = entry if isinstance(entry, Shot) else None
    return ShotState(
        shot=step.shot.shot,
        view=step.shot.view,
        status=step.status,
        picture=taken and taken.sha256[:12],
        overridden=taken.overridden if taken else (),
    )


def _current_state(
    guide: Guide, parts: Sequence[str], steps: Sequence[Step], journal: Mapping[str, JournalEntry]
) -> CurrentState | None:
    shot = guide.current
    if shot is None:
        return None
    view, views = guide.record.plan.view(shot.view), guide.record.plan.views
    position = "camera straight above"
    if view.elevation_deg != 90:
        azimuth = f"{view.azimuth_deg:+.0f}°".replace("-", "\N{MINUS SIGN}")
        turned = f", turned {azimuth}" if view.azimuth_deg else ""
        position = f"camera {view.elevation_deg:.0f}° above the table{turned}"
    path = guide.reference(shot.view)
    entry = journal.get(path.stem) if path else None
    reference = None
    if isinstance(entry, Shot):
        reference = f"shots/{entry.shot}/picture?content={entry.sha256[:12]}"
    return CurrentState(
        shot=shot.shot,
        part=parts.index(shot.part) + 1,
        is_mounted=any(s.status == "done" and s.shot.part == shot.part for s in steps),
        condition=_condition(shot),
        good=shot.kind == "good",
        view=_words(shot.view),
        view_number=views.index(view) + 1,
        camera_position=position,
        reference=reference,
    )


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _condition(shot: PlannedShot) -> str:
    return "good" if shot.defect is None else _words(shot.defect)


def _words(name: str) -> str:
    return name.replace("_", " ")
