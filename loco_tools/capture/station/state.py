"""What the pages of a station show: the truth, published by the desk, the same for every page."""

from collections.abc import Mapping, Sequence
from typing import Literal

from loco_tools.capture.checks.gates import Verdict
from loco_tools.capture.guide import Candidate, Guide, Step
from loco_tools.capture.session import JournalEntry, Shot
from loco_tools.capture.session_opening import DriftError
from loco_tools.errors import LocoToolsError
from loco_tools.plan import PlannedShot, View
from loco_tools.schema import Schema

Phase = Literal["aim", "review", "finished"]
NEXT_STEP = "next step: "


class Fault(Schema):
    """Something went wrong: what, and what to do about it.

    `stops` says that nothing is photographed until the camera is connected anew ("reconnect").
    """

    words: str
    next_step: str
    stops: bool = False


class ShotState(Schema):
    """A planned shot. `picture` names its photograph's content; None when there is none."""

    shot: str
    view: str
    status: Literal["open", "done", "skipped"]
    picture: str | None
    overridden: tuple[str, ...]


class PartState(Schema):
    """A part with its shots; `condition` is "good", or the defect in words."""

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
    """The photograph that waits for the operator's decision; no two have the same number."""

    number: int
    shot: str
    passed: bool
    verdicts: tuple[VerdictState, ...]


class CurrentState(Schema):
    """The shot to take now.

    `keeps` says that its part is on the table already, `looks` where the camera stands;
    `reference` is the address of the picture of the view's reference, None when there is none.
    """

    shot: str
    part: int
    keeps: bool
    condition: str
    good: bool
    view: str
    view_number: int
    looks: str
    reference: str | None


class State(Schema):
    """All of it. `turn` counts what operators did: a wish has to name the one that it saw."""

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
    """Where the guide is. Reads the guide, so it belongs on the guide's thread."""
    far, steps, current = guide.progress(), guide.steps(), guide.current
    return State(
        version=version,
        turn=turn,
        phase=_phase(guide),
        busy=False,
        instruction=guide.instruction(),
        done=far.done,
        skipped=far.skipped,
        planned=far.planned,
        views=len(guide.record.plan.views),
        parts=_parts(steps, journal),
        current=None if current is None else _current(guide, steps, current, journal),
        candidate=_candidate(guide.candidate, turn),
        fault=fault,
    )


def fault_of(error: LocoToolsError) -> Fault:
    """An error with its next step apart."""
    words, _, next_step = str(error).partition(NEXT_STEP)
    stops = isinstance(error, DriftError)
    return Fault(words=words.rstrip("; "), next_step=next_step, stops=stops)


def _phase(guide: Guide) -> Phase:
    if guide.candidate is not None:
        return "review"
    return "finished" if guide.current is None else "aim"


def _parts(steps: Sequence[Step], journal: Mapping[str, JournalEntry]) -> tuple[PartState, ...]:
    grouped: dict[str, list[Step]] = {}
    for step in steps:
        grouped.setdefault(step.shot.part, []).append(step)
    return tuple(
        PartState(
            number=number,
            condition=_condition(group[0].shot),
            split=group[0].shot.split,
            shots=tuple(_shot(step, journal.get(step.shot.shot)) for step in group),
        )
        for number, group in enumerate(grouped.values(), start=1)
    )


def _shot(step: Step, entry: JournalEntry | None) -> ShotState:
    taken = entry if isinstance(entry, Shot) else None
    return ShotState(
        shot=step.shot.shot,
        view=step.shot.view,
        status=step.status,
        picture=taken and taken.sha256[:12],
        overridden=taken.overridden if taken else (),
    )


def _current(
    guide: Guide, steps: Sequence[Step], shot: PlannedShot, journal: Mapping[str, JournalEntry]
) -> CurrentState:
    parts = list(dict.fromkeys(step.shot.part for step in steps))
    views = [view.name for view in guide.record.plan.views]
    same_part = (step for step in steps if step.shot.part == shot.part)
    reference = guide.reference(shot.view)
    return CurrentState(
        shot=shot.shot,
        part=parts.index(shot.part) + 1,
        keeps=any(step.status == "done" for step in same_part),
        condition=_condition(shot),
        good=shot.kind == "good",
        view=_words(shot.view),
        view_number=views.index(shot.view) + 1,
        looks=_looks(guide.record.plan.view(shot.view)),
        reference=_picture_of(journal.get(reference.stem) if reference else None),
    )


def _picture_of(entry: JournalEntry | None) -> str | None:
    if not isinstance(entry, Shot):
        return None
    return f"shots/{entry.shot}/picture?content={entry.sha256[:12]}"


def _candidate(candidate: Candidate | None, turn: int) -> CandidateState | None:
    if candidate is None:
        return None
    return CandidateState(
        number=turn,
        shot=candidate.shot.shot,
        passed=candidate.passed,
        verdicts=tuple(_verdict(verdict) for verdict in candidate.verdicts),
    )


def _verdict(verdict: Verdict) -> VerdictState:
    return VerdictState(
        gate=_words(verdict.gate),
        value=_finite(verdict.value),
        limit=_finite(verdict.limit),
        passed=verdict.passed,
        words=verdict.words,
    )


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _condition(shot: PlannedShot) -> str:
    return "good" if shot.defect is None else _words(shot.defect)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _looks(view: View) -> str:
    """Where the camera stands, for the hands at the rig."""
    if view.elevation_deg == 90:
        return "camera straight above"
    azimuth = f"{view.azimuth_deg:+.0f}°".replace("-", "\N{MINUS SIGN}")
    turned = f", turned {azimuth}" if view.azimuth_deg else ""
    return f"camera {view.elevation_deg:.0f}° above the table{turned}"
