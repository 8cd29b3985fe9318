"""Killing commands at every file operation, as SQLite's tests do.

Everything runs in forked children, so that the parent never has threads. In the child of a command,
an audit hook counts its operations on files below the work folder (opening to write, renaming,
removing, making folders, linking), and `os.fsync`. At operation n the child is killed before it
happens; at an fsync the file is cut to half of what was written first, as a power cut may leave it.
Or the disk is full from operation n on.

What is left must be the old state or the new one, or for commands that go on where they stopped, a
state whose every part is whole. The same command, run again undisturbed, must end with the files of
an undisturbed run, byte for byte except for times, and without leftovers.
"""

import errno
import os
import random
import re
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Fault = Literal["kill", "full"]
Files = dict[str, bytes]

_LONGEST_S = 120
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
_TAKES_SPACE = ("open", "os.mkdir", "os.link", "fsync")
_TIMES = (
    (re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:\d\d|Z)?"), b"TIME"),
    (
        re.compile(
            rb'"(fit_s|ms_per_image|peak_mb|held_out_s|total_s|run_s|duration_s)": [\d.e+-]+'
        ),
        rb'"\1": 0',
    ),
)


@dataclass(frozen=True)
class Scenario:
    """A command in a small work folder.

    Attributes:
        name: of the row in the table.
        command: runs the command as a user would and returns its exit code; called in a child.
        state: what a reader finds in the work folder, after the commits of killed runs are
            finished; it raises if something is not whole.
        resumes: whether the command goes on where it stopped; otherwise `state` must be that
            before or that after the command.
        ignored: files whose content depends on time in other ways.
    """

    name: str
    command: Callable[[Path], int]
    state: Callable[[Path], object]
    resumes: bool = False
    ignored: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What the faults of a scenario have left."""

    operations: int = 0
    faults: int = 0
    left: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    leftovers: int = 0


class Workspace:
    """The work folder of a scenario, its content before the command, and after it undisturbed."""

    def __init__(self, scenario: Scenario, start: Path, work: Path) -> None:
        self.scenario, self.start, self.work = scenario, start, work
        self.outcome = Outcome()
        self.reset()
        self.old = self.read_state()
        code, operations, said = self.run()
        assert code == 0, f"{scenario.name}: exit code {code}\n{said}"
        self.outcome.operations = len(operations)
        self.operations = operations
        self.new = self.read_state()
        self.files = self.read_files()
        hidden = [name for name in self.files if re.search(r"\.(tmp|new|commit)(/|$)", name)]
        assert not hidden, f"{scenario.name}: {hidden}"

    def reset(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.start, self.work)

    def read_files(self) -> Files:
        files = {}
        for path in sorted(self.work.rglob("*")):
            name = path.relative_to(self.work).as_posix()
            if path.name == "data_hashes.json":  # a cache of files that are old enough
                continue
            content = b"" if path.is_dir() else path.read_bytes()
            if name.endswith(self.scenario.ignored):
                content = b"..."
            for pattern, constant in _TIMES:
                content = pattern.sub(constant, content)
            files[name] = content
        return files

    def run(self, fault: Fault | None = None, at: int = -1) -> tuple[int, list[str], str]:
        """The exit code (-9: killed), the operations and the output of the command in a child."""
        log = self.work.with_name("operations")
        log.write_bytes(b"")

        def command() -> int:
            os.chdir(self.work)
            _install(self.work, log, fault, at)
            return self.scenario.command(self.work)

        code, said = in_child(command, self.work.with_name("output"))
        return code, log.read_text().splitlines(), said

    def read_state(self) -> str:
        """What the scenario's reader finds in the work folder.

        Raises:
            AssertionError: it finds something that is not whole.
        """

        def read() -> int:
            print(repr(self.scenario.state(self.work)))
            return 0

        code, said = in_child(read, self.work.with_name("output"))
        assert code == 0, said
        return said

    def try_fault(self, fault: Fault, at: int) -> None:
        """Let one fault happen, and check what it leaves and what the next run makes of it."""
        outcome, scenario = self.outcome, self.scenario
        outcome.faults += 1
        self.reset()
        code, operations, said = self.run(fault, at)
        where = f"{scenario.name}, {fault} at {at} ({(operations or ['?'])[-1]})"
        expected = -signal.SIGKILL if fault == "kill" else 1
        if fault == "full" and code == 0:  # a file that is not needed, as a cache or a note
            expected = 0
        if code != expected:
            outcome.problems.append(f"{where}: exit code {code}\n{said}")
        if fault == "full" and code == 1:
            if not re.search("disk is full|is full \\(|No space left", said):
                outcome.problems.append(f"{where}: said {said}")
            if "Traceback" in said:
                outcome.problems.append(f"{where}: {said}")
        try:
            state = self.read_state()
        except AssertionError as error:
            outcome.left["broken"] += 1
            outcome.problems.append(f"{where}: left {error!r}")
        else:
            kind = "old" if state == self.old else "new" if state == self.new else "part"
            outcome.left[kind] += 1
            if kind == "part" and not scenario.resumes:
                outcome.problems.append(f"{where}: left neither the old state nor the new one")
            if "earlier output is unchanged" in said and state != self.old:
                outcome.problems.append(f"{where}: said that nothing has changed, but it has")
        code, _, said = self.run()
        if code != 0:
            outcome.problems.append(f"{where}: the next run ended with {code}\n{said}")
            return
        if self.read_state() != self.new:
            outcome.problems.append(f"{where}: the next run ended in another state")
        self._compare(where)

    def _compare(self, where: str) -> None:
        found = self.read_files()
        more, less = found.keys() - self.files.keys(), self.files.keys() - found.keys()
        self.outcome.leftovers += len(more)
        if more or less:
            self.outcome.problems.append(
                f"{where}: too much {sorted(more)}, missing {sorted(less)}"
            )
        for name in found.keys() & self.files.keys():
            if found[name] != self.files[name]:
                self.outcome.problems.append(f"{where}: {name} differs from an undisturbed run")

    def sample(self, count: int, seed: int) -> list[int]:
        """The first and the last operation, and some between them."""
        numbers = range(self.outcome.operations)
        inner = random.Random(seed).sample(numbers[1:-1], min(count, len(numbers) - 2))
        return sorted({0, numbers[-1], *inner})


def in_child(task: Callable[[], int], output: Path) -> tuple[int, str]:
    """Run a task in a forked child; its exit code (-9: killed) and what it printed."""
    child = os.fork()
    if child == 0:
        code = 70
        signal.alarm(_LONGEST_S)
        try:
            with output.open("wb", buffering=0) as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
            code = task()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), output.read_text(errors="replace")


def _install(work: Path, log: Path, fault: Fault | None, at: int) -> None:
    """Count the operations of this process, and let the fault happen at one of them."""
    folder, real_fsync = str(work), os.fsync
    journal = os.open(log, os.O_WRONLY | os.O_APPEND)
    begun: dict[str, int] = {}
    number = -1
    watching = True

    @contextmanager
    def unwatched() -> Iterator[None]:
        nonlocal watching
        watching = False
        yield
        watching = True

    def operation(event: str, path: str) -> None:
        nonlocal number
        number += 1
        os.write(journal, f"{event} {path.removeprefix(folder)}\n".encode())
        if fault == "kill" and number == at:
            if event == "fsync" and Path(path).is_file():
                size = Path(path).stat().st_size
                start = min(begun.get(path, 0), size)
                with unwatched():
                    os.truncate(path, start + (size - start) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "full" and number >= at and event in _TAKES_SPACE:
            raise OSError(errno.ENOSPC, "No space left on device", path)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching or (event != "open" and event not in _EVENTS):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITING):
            return
        first = arguments[0]
        if not isinstance(first, str | os.PathLike | bytes):
            return
        path = os.fsdecode(first)
        if event in ("os.remove", "os.rmdir") and arguments[1] != -1:
            path = f"{_name_of(arguments[1])}/{path}"  # within rmtree
        path = str(Path(path).absolute())
        if not path.startswith(folder):
            return
        if event == "open":
            append = not arguments[2] & os.O_TRUNC and Path(path).is_file()
            begun[path] = Path(path).stat().st_size if append else 0
        operation(event, path)

    def fsync(descriptor: int) -> None:
        path = _name_of(descriptor)
        if path.startswith(folder):
            operation("fsync", path)
        real_fsync(descriptor)

    os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(hook)


def _name_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def table(outcomes: dict[str, Outcome]) -> str:
    """The outcomes as a table for a person."""
    lines = [f"{'command':<24}{'operations':>11}{'faults':>8}{'old':>6}{'new':>6}{'part':>6}"]
    lines[0] += f"{'broken':>8}{'leftovers':>11}{'problems':>10}"
    for name, outcome in outcomes.items():
        left = [f"{outcome.left[kind]:>{width}}" for kind, width in _COLUMNS]
        lines.append(
            f"{name:<24}{outcome.operations:>11}{outcome.faults:>8}{''.join(left)}"
            f"{outcome.leftovers:>11}{len(outcome.problems):>10}"
        )
    return "\n".join(lines)


_COLUMNS = (("old", 6), ("new", 6), ("part", 6), ("broken", 8))
