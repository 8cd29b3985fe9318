"""The operator's walk through a plan; the terminal, the station page and scripts drive it.

    with open_guide(load_plan("angle"), camera="opencv:0") as guide:
        while guide.current is not None:
            print(guide.instruction())
            candidate = guide.shoot()
            guide.accept() if candidate.passed else guide.discard()

Nothing of a candidate is on the disk until it is accepted; what is accepted stays, whatever
happens to the process afterwards.
"""

import contextlib
import datetime
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from loco_tools import files
from loco_tools.capture.calibration.record import read_calibration
from loco_tools.capture.cameras import Camera, Frame, open_camera
from loco_tools.capture.checks.frame_inspector import Inspector, reference_of
from loco_tools.capture.checks.gates import Verdict
from loco_tools.capture.session import (
    Mark,
    OverriddenBy,
    Progressed,
    Session,
    Shot,
    append,
    settled,
)
from loco_tools.capture.session_opening import (
    choose_session,
    connect_again,
    open_session,
    refuse_drift,
)
from loco_tools.datasets.images import Pixels, write_png
from loco_tools.errors import CaptureError
from loco_tools.lock import held
from loco_tools.plan import Plan, PlannedShot

Status = Literal["open", "done", "skipped"]


@dataclass(frozen=True)
class Step:
    """A planned shot and how far it is."""

    shot: PlannedShot
    status: Status


@dataclass(frozen=True)
class Candidate:
    """A frame that was taken and is neither accepted nor thrown away."""

    shot: PlannedShot
    frame: Frame
    measurements: dict[str, float]
    verdicts: tuple[Verdict, ...]
    taken: str | None = None
    """When, ISO 8601 with the offset; None when it is simulated."""

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The verdicts of the gates that it fails."""
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)

    @property
    def passed(self) -> bool:
        """Whether it passes every gate."""
        return not self.failed


@contextlib.contextmanager
def open_guide(
    plan: Plan,
    *,
    camera: str = "twin",
    captures: Path = Path("captures"),
    session: str | None = None,
    new: bool = False,
    seed: int = 0,
    calibration: Path | None = None,
    skipped: bool = False,
) -> Iterator["Guide"]:
    """Begin a session, or go on with one, and hold its lock and its camera for the block.

    Without `session`, the newest unfinished session of the class goes on, and a new one begins
    when there is none or when `new` is set.

    Args:
        plan: what to photograph.
        camera: as `--camera` takes it.
        captures: folder of all sessions.
        session: name of the session to begin or to go on with.
        new: begin a new session even if one is unfinished.
        seed: of the parts that the twin renders; real cameras ignore it.
        calibration: what `loco-tools calibrate camera` wrote for this camera; gives the scale. A
            session that has none yet takes it in, whenever it began.
        skipped: take up the shots again that were skipped earlier.

    Raises:
        CaptureError: another process writes the session, the camera cannot be used, or camera,
            plan, seed, settings or calibration are not those that the session began with.
    """
    scale = None if calibration is None else read_calibration(calibration)
    device = open_camera(camera, plan, seed=seed)
    folder = choose_session(plan, captures / plan.name, session, new=new, skipped=skipped)
    with held(folder, CaptureError, "begin another session with --new"), device:
        guide = Guide(folder, open_session(folder, plan, device, seed, scale), device)
        if skipped:
            guide.take_up_skipped()
        yield guide


class Guide:
    """Where a session is and what comes next.

    Not safe for use by several threads at once. Whoever opens one holds the session's lock: see
    `open_guide`.

    Attributes:
        folder: of the session.
        record: under which conditions it is taken.
        camera: connected.
    """

    def __init__(self, folder: Path, record: Session, camera: Camera) -> None:
        self.folder = folder
        self.record = record
        self.camera = camera
        self._planned = {planned.shot: planned for planned in record.plan.planned_shots()}
        self._settled = settled(folder)
        self._candidate: Candidate | None = None
        self._inspector = Inspector(folder, record)

    def steps(self) -> list[Step]:
        """Every planned shot in the order they are taken: all views of a part before the next."""
        return [Step(shot, self._status(shot)) for shot in self._planned.values()]

    @property
    def current(self) -> PlannedShot | None:
        """The shot to take next: the first that is open; None when there is none left."""
        return next((shot for shot in self._planned.values() if self._is_open(shot)), None)

    @property
    def candidate(self) -> Candidate | None:
        """The frame that waits to be accepted or thrown away."""
        return self._candidate

    def progress(self) -> Progressed:
        """How many shots are taken and skipped, of how many."""
        found = [entry for name, entry in self._settled.items() if name in self._planned]
        done = sum(isinstance(entry, Shot) for entry in found)
        return Progressed(done, len(self._planned), len(found) - done)

    def instruction(self) -> str:
        """What the operator is to do now, in a sentence or three."""
        shot, far = self.current, self.progress()
        if shot is None:
            skipped = f", {far.skipped} skipped" if far.skipped else ""
            return f"Everything is done: {far.done} of {far.planned} shots taken{skipped}."
        left = far.planned - far.done - far.skipped
        return f"{self._mount(shot)} {self._aim(shot)} {left} shot{'s' * (left != 1)} left."

    def reference(self, view: str) -> Path | None:
        """The photograph that a view is compared with: its first good one of this session."""
        first = reference_of(view, self._taken())
        return None if first is None else self.folder / first.file

    def live(self) -> Pixels:
        """A picture (H, W, 3) uint8 RGB to aim by. Blocks as `Camera.preview` does.

        Raises:
            CaptureError: the camera gives none.
        """
        last = next(reversed(self._planned.values()))
        return self.camera.preview(self.current or last)

    def reconnect(self) -> None:
        """Connect the camera anew, after it was lost or has drifted; blocks as `connect` does.

        Raises:
            CaptureError: it does not come back, or not with the settings of the session.
        """
        connect_again(self.folder, self.record, self.camera)

    def shoot(self) -> Candidate:
        """Photograph the current shot and judge it; nothing is written. Blocks as the camera does.

        A real camera takes a second frame right after, to see whether anything moves.

        Raises:
            CaptureError: nothing is left to shoot, the camera fails, its frame has another size
                than the plan wants, or its settings are no longer those of the session.
        """
        self._candidate = None
        shot = self._wanted()
        taken = None if self.camera.simulated else _now()
        frame = self._frame(shot)
        second = None if self.camera.simulated else self._frame(shot).image
        refuse_drift(self.folder, self.record, self.camera)
        measurements, verdicts = self._inspector.inspect(shot, frame.image, second, self._taken())
        self._candidate = Candidate(shot, frame, measurements, verdicts, taken)
        return self._candidate

    def accept(self, *, override: bool = False, by: OverriddenBy = "operator") -> Shot:
        """Keep the candidate: its image goes to the disk, then its line into the journal.

        Args:
            override: keep it even if it fails gates; the journal says which, and by whom.
            by: who overrides.

        Raises:
            CaptureError: there is no candidate, it fails a gate and `override` is not set, or the
                disk is full; the candidate is still there then.
        """
        candidate = self._offered()
        if candidate.failed and not override:
            words = "; ".join(verdict.words for verdict in candidate.failed)
            raise CaptureError(
                f"{candidate.shot.shot}: {words}; next step: do so and retake it, or accept it "
                "nevertheless"
            )
        with self._explained(f"{candidate.shot.shot} cannot be written; it is not taken"):
            shot = self._store(candidate, by)
        self._settled[shot.shot] = shot
        self._candidate = None
        return shot

    def retake(self) -> Candidate:
        """Throw the candidate away, if there is one, and shoot again; see `shoot`."""
        return self.shoot()

    def discard(self) -> None:
        """Throw the candidate away, if there is one."""
        self._candidate = None

    def skip(self, reason: str = "", *, whole_part: bool = False) -> PlannedShot:
        """Leave out the current shot, or all open shots of its part; `undo` takes it back.

        Returns:
            The shot that was skipped.

        Raises:
            CaptureError: nothing is left to skip.
        """
        current = self._wanted()
        shots = [current]
        if whole_part:
            same = (shot for shot in self._planned.values() if shot.part == current.part)
            shots = [shot for shot in same if self._is_open(shot)]
        marks = [Mark(shot=shot.shot, mark="skipped", reason=reason) for shot in shots]
        self._note(*marks)
        return current

    def undo(self) -> PlannedShot | None:
        """Open the last shot again that was accepted or skipped; a candidate is thrown away.

        Returns:
            The shot, or None when there is none.
        """
        self._candidate = None
        last = next((name for name in reversed(self._settled) if name in self._planned), None)
        if last is None:
            return None
        self._note(Mark(shot=last, mark="undone"))
        # the mark is on the disk: whatever breaks off from here, the shot is open
        (self.folder / _image_of(last)).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "truth" / last, ignore_errors=True)
        return self._planned[last]

    def take_up_skipped(self) -> None:
        """Open every shot again that was skipped."""
        skipped = [name for name, entry in self._settled.items() if isinstance(entry, Mark)]
        marks = [Mark(shot=name, mark="undone", reason="taken up again") for name in skipped]
        self._note(*marks)

    def _note(self, *marks: Mark) -> None:
        """Write marks into the journal, then act on them."""
        if marks:
            with self._explained("the journal cannot be written; nothing has changed"):
                append(self.folder, *marks)
        self._candidate = None
        for mark in marks:
            if mark.mark == "undone":
                del self._settled[mark.shot]
            else:
                self._settled[mark.shot] = mark

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CaptureError(
                f"{self.folder}: {what} ({error.strerror}); next step: make room on the disk, then "
                "do the same again"
            ) from error

    def _store(self, candidate: Candidate, by: OverriddenBy) -> Shot:
        planned, image = candidate.shot, self.folder / _image_of(candidate.shot.shot)
        _write_truth(self.folder, planned, candidate.frame)
        write_png(image, candidate.frame.image)
        _sync_folder(image.parent)
        overridden = tuple(verdict.gate for verdict in candidate.failed)
        shot = Shot(
            **planned._asdict(),
            file=image.relative_to(self.folder).as_posix(),
            sha256=files.sha256_of(image),
            simulated=self.camera.simulated,
            measurements=candidate.measurements,
            overridden=overridden,
            overridden_by=by if overridden else None,
            taken=candidate.taken,
        )
        append(self.folder, shot)
        return shot

    def _frame(self, shot: PlannedShot) -> Frame:
        frame = self.camera.frame(shot)
        camera = self.record.plan.camera
        wanted = (camera.height_px, camera.width_px, 3)
        if frame.image.shape != wanted:
            raise CaptureError(
                f"the camera gave a frame of {frame.image.shape} (height, width, channels), the "
                f"plan wants {wanted}; next step: set the camera's size, or change the plan"
            )
        return frame

    def _taken(self) -> list[Shot]:
        return [entry for entry in self._settled.values() if isinstance(entry, Shot)]

    def _status(self, shot: PlannedShot) -> Status:
        entry = self._settled.get(shot.shot)
        if entry is None:
            return "open"
        return "done" if isinstance(entry, Shot) else "skipped"

    def _is_open(self, shot: PlannedShot) -> bool:
        return shot.shot not in self._settled

    def _wanted(self) -> PlannedShot:
        current = self.current
        if current is None:
            raise CaptureError(
                f"{self.folder}: every shot of the plan is taken or skipped; next step: undo one, "
                "take up the skipped ones with --skipped, or begin anew with --new"
            )
        return current

    def _offered(self) -> Candidate:
        if self._candidate is None:
            raise CaptureError(f"{self.folder}: no frame waits to be accepted; next step: shoot")
        return self._candidate

    def _mount(self, shot: PlannedShot) -> str:
        parts = list(dict.fromkeys(planned.part for planned in self._planned.values()))
        number = f"part {parts.index(shot.part) + 1} of {len(parts)}"
        defect = shot.defect and shot.defect.replace("_", " ")
        what = "a good part" if defect is None else f"a part with: {defect}"
        first = not any(entry.part == shot.part for entry in self._taken())
        return f"Mount {number}: {what}." if first else f"Keep {number} ({what})."

    def _aim(self, shot: PlannedShot) -> str:
        views = [view.name for view in self.record.plan.views]
        return f"View {views.index(shot.view) + 1} of {len(views)}: {shot.view}."


def _image_of(shot: str) -> Path:
    return Path("images") / f"{shot}.png"


def _sync_folder(folder: Path) -> None:
    """Have the disk keep the new names in a folder, not only what the files hold."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")


def _write_truth(folder: Path, shot: PlannedShot, frame: Frame) -> None:
    target = folder / "truth" / shot.shot
    shutil.rmtree(target, ignore_errors=True)
    for number, defect in enumerate(frame.truth):
        write_png(target / f"{number}_{defect.name}.png", defect.mask.astype(np.uint8) * 255)
