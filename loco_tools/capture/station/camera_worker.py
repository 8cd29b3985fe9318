"""The thread that drives the guide: the operator's wishes first, live frames in between.

Guide and camera are used by this thread alone. What it publishes (`state`, `look`, `frame`) is
immutable and replaced as a whole, so any thread may read it at any time.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Literal, Self, TypeVar

from loco_tools.capture.guide import Guide
from loco_tools.capture.session import JournalEntry, Shot, read_journal
from loco_tools.capture.session_opening import DriftError
from loco_tools.capture.station.live_view import LiveFrame, Look, look_at, sharpness_of, to_jpeg
from loco_tools.capture.station.state import Fault, State, fault_of, make_state
from loco_tools.errors import CaptureError, DatasetError, LocoToolsError
from loco_tools.schema import Schema

Action = Literal["shoot", "retake", "accept", "discard", "skip", "undo", "take_up", "reconnect"]
Outcome = TypeVar("Outcome")


class Wish(Schema):
    """What a page asks for, and what it saw when it did: the turn, and the current shot.

    `override` accepts a photograph that fails gates; `whole_part` skips all open shots of the part.
    """

    turn: int
    shot: str | None
    override: bool = False
    whole_part: bool = False


class StaleError(CaptureError):
    """The page that asked did not show what is; nothing was done."""


class FailedGatesError(CaptureError):
    """The photograph fails gates, and nobody said to keep it nevertheless."""


class Desk:
    """Runs a guide on a thread of its own, from entering to leaving.

    Attributes:
        period_s: shortest time between two live frames.
        unwatched_s: without a viewer for that long, no live frames are taken.
        pause_s: how long to wait after a live frame that failed.
    """

    period_s = 0.12
    unwatched_s = 4.0
    pause_s = 2.0

    def __init__(self, guide: Guide) -> None:
        self.guide = guide
        self.stopping = threading.Event()
        self._asked: queue.SimpleQueue[tuple[Action, Wish, Future[None]]] = queue.SimpleQueue()
        self._hand = threading.Lock()
        self._turn = 0
        self._drift: DriftError | None = None
        self._lost = False
        self._action_fault: Fault | None = None
        self._camera_fault: Fault | None = None
        self._journal: Mapping[str, JournalEntry] = read_journal(guide.folder)
        self._references: dict[str, float | None] = {}
        self._shown: str | None = None
        self._watched = 0.0
        self._look_after = 0.0
        self.look: Look | None = None
        self.frame: LiveFrame | None = None
        self.photograph: tuple[int, bytes] | None = None
        self.state = make_state(guide, self._journal, version=1, turn=0, fault=None)
        self._thread = threading.Thread(target=self._run, name="station desk")

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the thread and wait for it; what it is doing is finished first."""
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Ask the thread to end, and live streams with it."""
        self.stopping.set()

    def watch(self) -> None:
        """Say that somebody is looking: live frames are wanted."""
        self._watched = time.monotonic()

    def ask(self, action: Action, wish: Wish) -> State:
        """Do what an operator wishes; blocks until it is done.

        Returns:
            The state afterwards.

        Raises:
            StaleError: the wish was about a state that is gone, or another one is being served.
            LocoToolsError: it failed; the state says so too.
        """
        if not self._hand.acquire(blocking=False):
            raise StaleError("the station is busy with another request")
        try:
            done: Future[None] = Future()
            self._asked.put((action, wish, done))
            while not wait([done], timeout=0.5).done:
                if not self._thread.is_alive():
                    raise CaptureError("the station has ended; next step: start it again")
            done.result()
            return self.state
        finally:
            self._hand.release()

    def picture(self, shot: str) -> Path | None:
        """The photograph of an accepted shot of this session; None when there is none."""
        entry = self._journal.get(shot)
        return self.guide.folder / entry.file if isinstance(entry, Shot) else None

    def _run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._serve_one()
        except BaseException as error:
            self._camera_fault = Fault(
                words=f"The station broke down: {error!r}",
                next_step="start it again: the session goes on where it stopped",
            )
            self._publish()
            raise

    def _serve_one(self) -> None:
        rest = min(max(0.0, self._look_after - time.monotonic()), 0.5)
        try:
            action, wish, done = self._asked.get(timeout=rest)
        except queue.Empty:
            self._look()
            return
        try:
            self._do(action, wish)
        except LocoToolsError as error:
            done.set_exception(error)
        except BaseException as error:
            done.set_exception(error)
            raise
        else:
            done.set_result(None)

    def _do(self, action: Action, wish: Wish) -> None:
        self._refuse_stale(action, wish)
        self._refuse_failed(action, wish)
        self.state = self.state.model_copy(update={"busy": True, "version": self.state.version + 1})
        try:
            self._act(action, wish)
            self._journal = read_journal(self.guide.folder)
            self._action_fault = None
        except LocoToolsError as error:
            self._action_fault = fault_of(error)
            raise
        finally:
            self._turn += 1
            self._keep_photograph()
            self._publish()

    def _act(self, action: Action, wish: Wish) -> None:
        guide = self.guide
        actions: dict[Action, Callable[[], object]] = {
            "shoot": self._shoot,
            "retake": self._shoot,
            "accept": lambda: guide.accept(override=wish.override),
            "discard": guide.discard,
            "skip": lambda: guide.skip("at the station", whole_part=wish.whole_part),
            "undo": guide.undo,
            "take_up": guide.reopen_skipped,
            "reconnect": self._reconnect,
        }
        actions[action]()

    def _shoot(self) -> None:
        if self._drift is not None:
            # also when the settings have come back by themselves: nobody knows why they left
            raise DriftError(str(self._drift))
        self._with_camera(self.guide.shoot)
        self._camera_fault = None

    def _reconnect(self) -> None:
        self._drift, self._lost = None, True
        self._with_camera(lambda: None)
        self._camera_fault = None

    def _with_camera(self, use: Callable[[], Outcome]) -> Outcome:
        """Use the camera, which is connected anew if it failed the last time."""
        try:
            if self._lost:
                self.guide.reconnect()
            self._lost = False
            return use()
        except DriftError as error:
            self._drift = error
            raise
        except LocoToolsError:
            self._lost = True
            raise

    def _refuse_stale(self, action: Action, wish: Wish) -> None:
        current = self.guide.current
        if wish.turn != self._turn or wish.shot != (current and current.shot):
            raise StaleError("the session has moved on; nothing was done")
        waits = self.guide.candidate is not None
        always = action in ("skip", "reconnect")
        if waits != (action in ("retake", "accept", "discard")) and not always:
            raise StaleError(
                "a photograph waits for a decision" if waits else "no photograph waits"
            )

    def _refuse_failed(self, action: Action, wish: Wish) -> None:
        candidate = self.guide.candidate
        if action == "accept" and candidate and candidate.failed and not wish.override:
            words = "; ".join(verdict.words for verdict in candidate.failed)
            raise FailedGatesError(f"{words}; next step: retake it, or keep it anyway")

    def _keep_photograph(self) -> None:
        candidate = self.guide.candidate
        if candidate is None:
            self.photograph = None
        else:
            self.photograph = (self._turn, to_jpeg(candidate.frame.image))

    def _publish(self) -> None:
        self.state = make_state(
            self.guide,
            self._journal,
            version=self.state.version + 1,
            turn=self._turn,
            fault=self._fault(),
        )

    def _fault(self) -> Fault | None:
        drifted = None if self._drift is None else fault_of(self._drift)
        return drifted or self._action_fault or self._camera_fault

    def _look(self) -> None:
        """Take a live frame if anybody watches and there is anything to aim at."""
        if time.monotonic() < self._look_after:
            return
        self._look_after = time.monotonic() + self.period_s
        shot = self.guide.current
        if shot is None or self.guide.candidate is not None or not self._is_watched():
            return
        if self.guide.camera.simulated and self._shown == shot.shot:
            return
        try:
            image = self._with_camera(self.guide.live_picture)
        except LocoToolsError as error:
            self.look = None
            self._see_camera(fault_of(error))
            self._look_after = time.monotonic() + self.pause_s
            return
        reference = self._reference_sharpness(shot.view)
        self.look = look_at(image, shot.shot, before=self.look, reference=reference)
        self.frame = LiveFrame(self.frame.number + 1 if self.frame else 1, to_jpeg(image))
        self._shown = shot.shot
        self._see_camera(None)

    def _is_watched(self) -> bool:
        return time.monotonic() - self._watched < self.unwatched_s

    def _see_camera(self, fault: Fault | None) -> None:
        if fault != self._camera_fault:
            self._camera_fault = fault
            self._publish()

    def _reference_sharpness(self, view: str) -> float | None:
        path = self.guide.reference(view)
        entry = self._journal.get(path.stem) if path else None
        if path is None or not isinstance(entry, Shot):
            return None
        if entry.sha256 not in self._references:
            try:
                self._references[entry.sha256] = sharpness_of(path)
            except DatasetError:  # gone or damaged: the next photograph says so, and what to do
                return None
        return self._references[entry.sha256]
