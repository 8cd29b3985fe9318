"""The operator's way through a plan; the terminal, the station page and scripts use it.

    request = SessionRequest(load_plan("angle"), camera="opencv:0")
    with open_guide(request) as guide:
        while guide.current is not None:
            print(guide.instruction())
            candidate = guide.shoot()
            guide.accept() if candidate.passed else guide.discard()

A candidate is written to the disk only when it is accepted. An accepted photograph stays on the
disk, whatever happens to the process afterwards.
"""

import contextlib
import datetime
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from loco_tools import files
from loco_tools.capture.calibration.record import read_calibration
from loco_tools.capture.cameras import Camera, Frame, open_camera
from loco_tools.capture.checks.gates import Verdict
from loco_tools.capture.frame_inspector import Inspector, reference_of
from loco_tools.capture.session import (
    OverriddenBy,
    Session,
    SessionProgress,
    Shot,
    StatusChange,
    append_to_journal,
    count_progress,
    read_journal,
)
from loco_tools.capture.session_opening import (
    SessionRequest,
    choose_session,
    open_session,
    reconnect_camera,
    refuse_drift,
)
from loco_tools.datasets.images import Pixels, write_png
from loco_tools.errors import CaptureError
from loco_tools.lock import held
from loco_tools.plan import PlannedShot
from loco_tools.wording import plural

Status = Literal["open", "done", "skipped"]


@dataclass(frozen=True)
class Step:
    """A planned shot and its status."""

    shot: PlannedShot
    status: Status


@dataclass(frozen=True)
class Candidate:
    """A photograph that was taken and is neither accepted nor discarded yet."""

    shot: PlannedShot
    frame: Frame
    measurements: dict[str, float]
    verdicts: tuple[Verdict, ...]
    taken: str | None = None
    """When it was taken, ISO 8601 with the offset; None when it is simulated."""

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The verdicts of the quality gates that it fails."""
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)

    @property
    def passed(self) -> bool:
        """Whether it passes every quality gate."""
        return not self.failed

    @property
    def fault(self) -> str:
        """What the failed gates found and advise, in words; empty if all gates passed."""
        return "; ".join(verdict.words for verdict in self.failed)


@contextlib.contextmanager
def open_guide(request: SessionRequest) -> Iterator["Guide"]:
    """Begin or continue a session; hold its lock and its camera for the `with` block.

    Raises:
        CaptureError: another process writes the session, the camera cannot be used, or camera,
            plan, seed, settings or calibration are not those that the session began with.
    """
    calibration = None if request.calibration is None else read_calibration(request.calibration)
    camera = open_camera(request.camera, request.plan, seed=request.seed)
    folder = choose_session(request)
    with held(folder, CaptureError, "begin another session with --new"), camera:
        record = open_session(folder, request.plan, camera, request.seed, calibration)
        guide = Guide(folder, record, camera)
        if request.skipped:
            guide.reopen_skipped()
        yield guide


class Guide:
    """The state of a session: which shots are done, and which one is next.

    A guide must not be used by several threads at once. Its user holds the session's lock: see
    `open_guide`.

    Attributes:
        folder: of the session.
        record: the conditions under which the session is taken.
        camera: connected.
    """

    def __init__(self, folder: Path, record: Session, camera: Camera) -> None:
        self.folder = folder
        self.record = record
        self.camera = camera
        self._planned = {planned.shot: planned for planned in record.plan.planned_shots()}
        self._journal = read_journal(folder)
        self._candidate: Candidate | None = None
        self._inspector = Inspector(folder, record)

    def steps(self) -> list[Step]:
        """Every planned shot in the order of the plan: all views of a part before the next part."""
        steps = []
        for name, shot in self._planned.items():
            entry = self._journal.get(name)
            status: Status = "done" if isinstance(entry, Shot) else "skipped"
            steps.append(Step(shot, status if entry else "open"))
        return steps

    @property
    def current(self) -> PlannedShot | None:
        """The shot to take next: the first open one, or None if no shot is open."""
        return next((shot for shot in self._planned.values() if self._is_open(shot)), None)

    @property
    def candidate(self) -> Candidate | None:
        """The photograph that waits to be accepted or discarded."""
        return self._candidate

    def progress(self) -> SessionProgress:
        """The number of shots that are done, planned and skipped."""
        return count_progress(self._planned, self._journal)

    def instruction(self) -> str:
        """What the operator has to do now, in one to three sentences."""
        shot, far = self.current, self.progress()
        if shot is None:
            skipped = f", {far.skipped} skipped" if far.skipped else ""
            return f"Everything is done: {far.done} of {far.planned} shots taken{skipped}."
        parts = list(dict.fromkeys(planned.part for planned in self._planned.values()))
        part = f"part {parts.index(shot.part) + 1} of {len(parts)}"
        condition = (
            f"a part with: {shot.defect.replace('_', ' ')}" if shot.defect else "a good part"
        )
        is_mounted = any(entry.part == shot.part for entry in self._shots())
        mount = f"Keep {part} ({condition})." if is_mounted else f"Mount {part}: {condition}."
        views = [view.name for view in self.record.plan.views]
        view = f"View {views.index(shot.view) + 1} of {len(views)}: {shot.view}."
        left = far.planned - far.done - far.skipped
        return f"{mount} {view} {plural(left, 'shot')} left."

    def reference(self, view: str) -> Path | None:
        """The photograph that a view is compared with: its first good one of this session."""
        first = reference_of(view, self._shots())
        return None if first is None else self.folder / first.file

    def live_picture(self) -> Pixels:
        """A picture (H, W, 3) uint8 RGB to aim by. Blocks as `Camera.preview` does.

        Raises:
            CaptureError: the camera gives none.
        """
        last = next(reversed(self._planned.values()))
        return self.camera.preview(self.current or last)

    def reconnect(self) -> None:
        """Connect the camera again after it was lost or has drifted; blocks as `connect` does.

        Raises:
            CaptureError: it does not come back, or not with the settings of the session.
        """
        reconnect_camera(self.folder, self.record, self.camera)

    def shoot(self) -> Candidate:
        """Photograph the current shot and check it; nothing is written. Blocks as the camera does.

        A second frame of a real camera shows whether anything moves.

        Raises:
            CaptureError: no shot is open, the camera fails, its frame has another size than the
                plan asks for, or its settings are no longer those of the session.
        """
        self._candidate = None
        shot = self._require_current()
        now = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
        is_real = not self.camera.simulated
        frame = self._take_frame(shot)
        second = self._take_frame(shot).image if is_real else None
        refuse_drift(self.folder, self.record, self.camera)
        measurements, verdicts = self._inspector.inspect(shot, frame.image, second, self._shots())
        self._candidate = Candidate(shot, frame, measurements, verdicts, now if is_real else None)
        return self._candidate

    def accept(self, *, override: bool = False, by: OverriddenBy = "operator") -> Shot:
        """Keep the candidate: its image goes to the disk, then its line into the journal.

        Args:
            override: keep it even if it fails gates; the journal records which, and by whom.
            by: who overrides.

        Raises:
            CaptureError: there is no candidate, it fails a gate and `override` is not set, or the
                disk is full; the candidate is kept then.
        """
        candidate = self._candidate
        if candidate is None:
            raise CaptureError(
                f"{self.folder}: no photograph waits to be accepted; next step: shoot"
            )
        name = candidate.shot.shot
        if candidate.failed and not override:
            raise CaptureError(
                f"{name}: {candidate.fault}; next step: do that and retake it, or accept it anyway"
            )
        image = self.folder / "images" / f"{name}.png"
        overridden = tuple(verdict.gate for verdict in candidate.failed)
        with self._explain_disk_errors(f"{name} cannot be written; it is not taken"):
            _write_photograph(image, self.folder / "truth" / name, candidate.frame)
            shot = Shot(
                **candidate.shot._asdict(),
                file=image.relative_to(self.folder).as_posix(),
                sha256=files.sha256_of(image),
                simulated=self.camera.simulated,
                measurements=candidate.measurements,
                overridden=overridden,
                overridden_by=by if overridden else None,
                taken=candidate.taken,
            )
            append_to_journal(self.folder, shot)
        self._journal[name] = shot
        self._candidate = None
        return shot

    def retake(self) -> Candidate:
        """Discard the candidate, if there is one, and shoot again; see `shoot`."""
        return self.shoot()

    def discard(self) -> None:
        """Discard the candidate, if there is one."""
        self._candidate = None

    def skip(self, reason: str = "", *, whole_part: bool = False) -> PlannedShot:
        """Skip the current shot, or all open shots of its part; `undo` reverts it.

        Returns:
            The shot that was skipped.

        Raises:
            CaptureError: no shot is open.
        """
        current = self._require_current()
        shots = [current]
        if whole_part:
            same_part = (shot for shot in self._planned.values() if shot.part == current.part)
            shots = [shot for shot in same_part if self._is_open(shot)]
        self._record(*(StatusChange(shot=s.shot, mark="skipped", reason=reason) for s in shots))
        return current

    def undo(self) -> PlannedShot | None:
        """Reopen the last shot that was accepted or skipped, and discard the candidate.

        Returns:
            The shot, or None when there is none.
        """
        self._candidate = None
        last = next((name for name in reversed(self._journal) if name in self._planned), None)
        if last is None:
            return None
        self._record(StatusChange(shot=last, mark="undone"))
        # From here on the shot is open, even if the process is killed: the journal says so.
        (self.folder / "images" / f"{last}.png").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "truth" / last, ignore_errors=True)
        return self._planned[last]

    def reopen_skipped(self) -> None:
        """Open every skipped shot again."""
        skipped = [name for name, entry in self._journal.items() if not isinstance(entry, Shot)]
        self._record(
            *(StatusChange(shot=s, mark="undone", reason="taken up again") for s in skipped)
        )

    def _record(self, *changes: StatusChange) -> None:
        """Write changes of status into the journal, then apply them."""
        if changes:
            with self._explain_disk_errors("the journal cannot be written; nothing has changed"):
                append_to_journal(self.folder, *changes)
        self._candidate = None
        for change in changes:
            if change.mark == "undone":
                del self._journal[change.shot]
            else:
                self._journal[change.shot] = change

    @contextlib.contextmanager
    def _explain_disk_errors(self, consequence: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            is_full = files.is_full(error)
            mend = "make room on the disk, then do the same again" if is_full else "do it again"
            raise CaptureError(
                f"{self.folder}: {consequence} ({error.strerror}); next step: {mend}"
            ) from error

    def _take_frame(self, shot: PlannedShot) -> Frame:
        frame = self.camera.frame(shot)
        camera = self.record.plan.camera
        expected = (camera.height_px, camera.width_px, 3)
        if frame.image.shape != expected:
            raise CaptureError(
                f"camera {self.camera.identity}: expected a frame of {expected} (height, width, "
                f"channels) as the plan says, got {frame.image.shape}; next step: set the camera's "
                "picture size, or change the plan"
            )
        return frame

    def _shots(self) -> list[Shot]:
        return [entry for entry in self._journal.values() if isinstance(entry, Shot)]

    def _is_open(self, shot: PlannedShot) -> bool:
        return shot.shot not in self._journal

    def _require_current(self) -> PlannedShot:
        current = self.current
        if current is None:
            raise CaptureError(
                f"{self.folder}: every shot of the plan is taken or skipped; next step: undo one, "
                "reopen the skipped ones with --skipped, or begin a new session with --new"
            )
        return current


def _write_photograph(image: Path, truth: Path, frame: Frame) -> None:
    """Write the image and the true masks of a frame, so that they survive a power cut."""
    shutil.rmtree(truth, ignore_errors=True)
    for number, defect in enumerate(frame.truth):
        write_png(truth / f"{number}_{defect.name}.png", defect.mask.astype(np.uint8) * 255)
    write_png(image, frame.image)
