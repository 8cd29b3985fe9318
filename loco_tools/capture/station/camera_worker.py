"""The thread that uses the guide and its camera: operator commands first, live frames in between.

Only this thread uses guide and camera. What it publishes (`state`, `measurements`, `frame`) is
immutable and replaced as a whole, so any thread may read it at any time. A fault of the operating
system, such as too many open files, is shown like a fault of the camera, and the thread goes on.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Literal, Self, TypeVar

from loco_tools.capture.guide import Guide
from loco_tools.capture.session import JournalEntry, Shot, read_journal
from loco_tools.capture.session_opening import DriftError
from loco_tools.capture.station.live_view import (
    LiveFrame,
    LiveMeasurements,
    measure_live_frame,
    read_sharpness,
    to_jpeg,
)
from loco_tools.capture.station.state import (
    Fault,
    State,
    fault_of,
    make_state,
    passing_fault,
)
from loco_tools.errors import CaptureError, DatasetError, LocoToolsError
from loco_tools.schema import Schema

Action = Literal[
    "shoot", "retake", "accept", "discard", "skip", "undo", "reopen_skipped", "reconnect"
]
Result = TypeVar("Result")


class Command(Schema):
    """A command of an operator, with the turn and the current shot that the page showed.

    `override` accepts a photograph that fails gates; `whole_part` skips all open shots of the part.
    """

    turn: int
    shot: str | None
    override: bool = False
    whole_part: bool = False


class StaleError(CaptureError):
    """The page showed an outdated state; nothing was done."""


class FailedGatesError(CaptureError):
    """The photograph fails quality gates, and the command does not override them."""


class CameraWorker:
    """Runs a guide on a thread of its own, from entering to leaving the `with` block.

    Attributes:
        period_s: shortest time between two live frames.
        unwatched_s: after this time without a viewer, no live frames are taken.
        pause_s: how long to wait after a live frame that failed.
        guide: of the session; not to be used by other threads meanwhile.
        stopping: is set when the thread is about to end.
        state: what the pages show.
        measurements: of the last live frame; None if there is none.
        frame: the last live frame; None if there is none.
        photograph: number and JPEG of the photograph that waits for a decision.
    """

    period_s = 0.12
    unwatched_s = 4.0
    pause_s = 2.0

    def __init__(self, guide: Guide) -> None:
        self.guide = guide
        self.stopping = threading.Event()
        self.measurements: LiveMeasurements | None = None
        self.frame: LiveFrame | None = None
        self.photograph: tuple[int, bytes] | None = None
        self._commands: queue.SimpleQueue[tuple[Action, Command, Future[None]]]
        self._commands = queue.SimpleQueue()
        self._one_at_a_time = threading.Lock()
        self._turn = 0
        self._drift: DriftError | None = None
        self._camera_is_lost = False
        self._action_fault: Fault | None = None
        self._camera_fault: Fault | None = None
        self._journal: Mapping[str, JournalEntry] = read_journal(guide.folder)
        self._reference_sharpness: dict[str, float | None] = {}
        self._shown: str | None = None
        self._watched_at = 0.0
        self._next_frame_at = 0.0
        self.state = make_state(guide, self._journal, version=1, turn=0, fault=None)
        self._thread = threading.Thread(target=self._run, name="camera worker")

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the thread and wait until it has finished what it is doing."""
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Tell the thread and the live streams to end."""
        self.stopping.set()

    def watch(self) -> None:
        """Note that somebody is watching, so that live frames are taken."""
        self._watched_at = time.monotonic()

    def execute(self, action: Action, command: Command) -> State:
        """Execute a command; blocks until it is done.

        Returns:
            The state afterwards.

        Raises:
            StaleError: the command refers to an outdated state, or another one is being executed.
            LocoToolsError: it failed; the state holds the fault too.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            raise StaleError("the station is busy with another request")
        try:
            done: Future[None] = Future()
            self._commands.put((action, command, done))
            while not wait([done], timeout=0.5).done:
                if not self._thread.is_alive():
                    raise CaptureError("the station has ended; next step: start it again")
            done.result()
            return self.state
        finally:
            self._one_at_a_time.release()

    def picture(self, shot: str) -> Path | None:
        """The photograph of an accepted shot of this session; None if there is none."""
        entry = self._journal.get(shot)
        return self.guide.folder / entry.file if isinstance(entry, Shot) else None

    def _run(self) -> None:
        try:
            while not self.stopping.is_set():
                pause_s = min(max(0.0, self._next_frame_at - time.monotonic()), 0.5)
                try:
                    action, command, done = self._commands.get(timeout=pause_s)
                except queue.Empty:
                    self._take_live_frame()
                    continue
                try:
                    self._perform(action, command)
                except BaseException as error:
                    done.set_exception(error)
                    if not isinstance(error, LocoToolsError):
                        raise
                else:
                    done.set_result(None)
        except BaseException as error:
            self._camera_fault = Fault(
                words=f"The station broke down: {error!r}",
                next_step="start it again: the session continues where it stopped",
            )
            self._publish()
            raise

    def _perform(self, action: Action, command: Command) -> None:
        """Check a command, perform its action, and publish the new state."""
        guide = self.guide
        self._refuse_unsuitable(action, command)
        actions: dict[Action, Callable[[], object]] = {
            "shoot": self._shoot,
            "retake": self._shoot,
            "accept": lambda: guide.accept(override=command.override),
            "discard": guide.discard,
            "skip": lambda: guide.skip("at the station", whole_part=command.whole_part),
            "undo": guide.undo,
            "reopen_skipped": guide.reopen_skipped,
            "reconnect": self._reconnect,
        }
        self.state = self.state.model_copy(update={"busy": True, "version": self.state.version + 1})
        try:
            with _explained():
                actions[action]()
                self._journal = read_journal(guide.folder)
            self._action_fault = None
        except LocoToolsError as error:
            self._action_fault = fault_of(error)
            raise
        finally:
            self._turn += 1
            waiting = guide.candidate
            jpeg = None if waiting is None else to_jpeg(waiting.frame.image)
            self.photograph = None if jpeg is None else (self._turn, jpeg)
            self._publish()

    def _refuse_unsuitable(self, action: Action, command: Command) -> None:
        """Refuse a command that refers to an outdated state or does not fit the present one."""
        current, candidate = self.guide.current, self.guide.candidate
        if command.turn != self._turn or command.shot != (current and current.shot):
            raise StaleError("the session has moved on; nothing was done")
        needs_photograph = action in ("retake", "accept", "discard")
        if needs_photograph != (candidate is not None) and action not in ("skip", "reconnect"):
            waits = "a photograph waits for a decision"
            raise StaleError(waits if candidate else "no photograph waits")
        if action == "accept" and candidate and candidate.failed and not command.override:
            raise FailedGatesError(f"{candidate.fault}; next step: retake it, or keep it anyway")

    def _shoot(self) -> None:
        if self._drift is not None:
            # This holds even if the settings have returned by themselves: the cause is unknown.
            raise DriftError(str(self._drift))
        self._with_camera(self.guide.shoot)
        self._camera_fault = None

    def _reconnect(self) -> None:
        self._drift, self._camera_is_lost = None, True
        self._with_camera(lambda: None)
        self._camera_fault = None

    def _with_camera(self, use: Callable[[], Result]) -> Result:
        """Use the camera; if it failed the last time, reconnect it first."""
        try:
            with _explained():
                if self._camera_is_lost:
                    self.guide.reconnect()
                self._camera_is_lost = False
                return use()
        except DriftError as error:
            self._drift = error
            raise
        except LocoToolsError:
            self._camera_is_lost = True
            raise

    def _publish(self) -> None:
        drift = None if self._drift is None else fault_of(self._drift)
        self.state = make_state(
            self.guide,
            self._journal,
            version=self.state.version + 1,
            turn=self._turn,
            fault=drift or self._action_fault or self._camera_fault,
        )

    def _take_live_frame(self) -> None:
        """Take and measure a live frame, if somebody watches and a shot is to be taken."""
        now = time.monotonic()
        if now < self._next_frame_at:
            return
        self._next_frame_at = now + self.period_s
        shot, is_watched = self.guide.current, now - self._watched_at < self.unwatched_s
        if shot is None or self.guide.candidate is not None or not is_watched:
            return
        if self.guide.camera.simulated and self._shown == shot.shot:
            return
        try:
            image = self._with_camera(self.guide.live_picture)
        except LocoToolsError as error:
            self.measurements = None
            self._set_camera_fault(fault_of(error))
            self._next_frame_at = time.monotonic() + self.pause_s
            return
        self.measurements = measure_live_frame(
            image,
            shot.shot,
            before=self.measurements,
            reference=self._measure_reference(shot.view),
        )
        self.frame = LiveFrame(self.frame.number + 1 if self.frame else 1, to_jpeg(image))
        self._shown = shot.shot
        self._set_camera_fault(None)

    def _set_camera_fault(self, fault: Fault | None) -> None:
        if fault != self._camera_fault:
            self._camera_fault = fault
            self._publish()

    def _measure_reference(self, view: str) -> float | None:
        """Sharpness of a view's reference; None if there is none or it cannot be read."""
        path = self.guide.reference(view)
        entry = self._journal.get(path.stem) if path else None
        if path is None or not isinstance(entry, Shot):
            return None
        if entry.sha256 not in self._reference_sharpness:
            try:
                self._reference_sharpness[entry.sha256] = read_sharpness(path)
            except (
                DatasetError,
                OSError,
            ):  # Taking the next photograph reports it, with the next step.
                return None
        return self._reference_sharpness[entry.sha256]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn a fault of the operating system into a CaptureError."""
    try:
        yield
    except OSError as error:
        raise passing_fault(error) from error
