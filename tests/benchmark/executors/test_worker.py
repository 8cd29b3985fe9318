import contextlib
from collections.abc import Callable, Iterator

from loco_tools.benchmark.executors import worker
from loco_tools.benchmark.executors.worker import (
    ProgressMessage,
    ProgressReplay,
    SendingProgress,
    TaskAdvanced,
    TaskOpened,
)


class Journal:
    """A progress that records what it receives."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        self.lines.append(f"open {description} {total}")
        yield lambda steps: self.lines.append(f"{description} +{steps}")
        self.lines.append(f"close {description}")

    def note(self, message: str) -> None:
        self.lines.append(message)


def test_the_progress_of_a_worker_is_shown_like_progress_of_the_run() -> None:
    journal = Journal()
    replay = ProgressReplay(journal)
    sender = SendingProgress(replay.show)
    with sender.task("outer", 2) as outer, sender.task("inner") as inner:
        outer(1)
        inner(5)
        sender.note("half way")
    assert journal.lines == [
        "open outer 2",
        "open inner None",
        "outer +1",
        "inner +5",
        "half way",
        "close inner",
        "close outer",
    ]


def test_quick_steps_are_summed_up(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    clock = iter([10.0, 10.05, 10.1, 10.3])
    monkeypatch.setattr(worker.time, "monotonic", lambda: next(clock))
    sent: list[ProgressMessage] = []
    with SendingProgress(sent.append).task("many") as advance:
        for _ in range(4):
            advance(1)
    assert [message.steps for message in sent if isinstance(message, TaskAdvanced)] == [1, 3]


def test_tasks_that_a_dead_worker_left_open_are_closed() -> None:
    journal = Journal()
    replay = ProgressReplay(journal)
    replay.show(TaskOpened(0, "fit", None), "plate, ")
    replay.close()
    assert journal.lines == ["open plate, fit None", "close plate, fit"]
