"""The photographs that an export speaks of: its sessions, and which task shows which shot."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loco_tools import files
from loco_tools.annotations.formats.image_references import (
    Storages,
    check_trusted,
    embedded_sha256,
    names_of,
    stored_file,
)
from loco_tools.annotations.formats.regions import Export, Task
from loco_tools.capture.session import RECORD, Session, Shot, read_session, read_shots
from loco_tools.errors import AnnotationError

CAPTURES = Path("captures")

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LISTED = 10
_LONGEST_SHOWN = 80


@dataclass(frozen=True, eq=False)
class Photograph:
    """One accepted shot of one session."""

    session: Path
    record: Session
    shot: Shot

    @property
    def path(self) -> Path:
        """Its image file."""
        return self.session / self.shot.file

    def __str__(self) -> str:
        return f"{self.record.session}/{self.shot.shot}"


def image_bytes(path: Path, sha256: str) -> bytes:
    """The content of an image file, if it is still the one that was taken.

    Args:
        path: in its session.
        sha256: of the content, from the session's journal.

    Raises:
        AnnotationError: the file cannot be read, or has another content.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot be read ({error.strerror}); next step: restore it"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise AnnotationError(
            f"{path}: damaged or edited, its SHA-256 is not the one in the session's shots.jsonl; "
            "next step: restore it from a copy"
        )
    return content


def find_sessions(export: Export, given: Sequence[Path]) -> list[Path]:
    """The session folders of an export: its own folder, those given, or those its tasks name.

    Names in tasks (`loco_class`, `loco_session`) are looked up under `captures/`, and only when the
    export lies in no session and none is given.

    Raises:
        AnnotationError: there is none.
    """
    own = [export.path.parent] if (export.path.parent / RECORD).is_file() else []
    found = [*own, *given] or [
        CAPTURES / name / session for name, session in _named_sessions(export)
    ]
    if not found:
        raise AnnotationError(
            f"{export.path}: lies in no session, and its tasks name none; next step: give the "
            "folder of the photographs with --session"
        )
    return list({folder.resolve(): folder for folder in found}.values())


def _named_sessions(export: Export) -> list[tuple[str, str]]:
    named: dict[tuple[str, str], None] = {}
    for task in export.tasks:
        pair = task.data.get("loco_class"), task.data.get("loco_session")
        if all(isinstance(name, str) and _PLAIN_NAME.fullmatch(name) for name in pair):
            named[str(pair[0]), str(pair[1])] = None
    return list(named)


class Photographs:
    """Every photograph of the sessions of one class, in the order they were taken.

    Args:
        sessions: their folders.
        storages: folders for references that would be refused otherwise.

    Raises:
        AnnotationError: the sessions show different classes, two have the same name, or a part
            lies in two splits.
    """

    def __init__(self, sessions: Iterable[Path], storages: Storages | None = None) -> None:
        self._storages = storages or {}
        self.records = [(folder, read_session(folder)) for folder in sessions]
        for what, values in (
            ("one class", {record.name for _, record in self.records}),
            ("different names", {record.session for _, record in self.records}),
        ):
            wanted = 1 if what == "one class" else len(self.records)
            if len(values) != wanted:
                folders = ", ".join(str(folder) for folder, _ in self.records)
                raise AnnotationError(
                    f"expected sessions of {what}, got {', '.join(sorted(values))} in {folders}"
                )
        self.all = [
            Photograph(folder, record, shot)
            for folder, record in self.records
            for shot in read_shots(folder)
        ]
        _check_splits(self.all)
        self._by_shot: dict[str, list[Photograph]] = {}
        self._by_hash: dict[str, list[Photograph]] = {}
        self._by_file: dict[str, list[Photograph]] = {}
        for photograph in self.all:
            self._by_shot.setdefault(photograph.shot.shot, []).append(photograph)
            self._by_hash.setdefault(photograph.shot.sha256, []).append(photograph)
            self._by_file.setdefault(photograph.path.name, []).append(photograph)

    @property
    def class_name(self) -> str:
        """The class that was photographed."""
        return self.records[0][1].name

    def shown_by(self, export: Export) -> dict[int, dict[str | None, Photograph]]:
        """For each task, by its place in the export: image reference -> photograph.

        Our own ids in the task's data decide (`loco_shot`, a shot's name, a list of them in the
        order of the images, or one for each key of the data that holds an image); without them the
        content's SHA-256 (`loco_sha256` likewise, or that of a data URL or of a file in a
        configured storage); without that the file's name, with or without Label Studio's prefix.

        Raises:
            AnnotationError: tasks show images that no session has, or that two have, or refer to
                them by a URL or a path outside of their folder.
        """
        shown: dict[int, dict[str | None, Photograph]] = {}
        missing: list[str] = []
        for place, task in enumerate(export.tasks):
            references: Sequence[str | None] = task.images or (None,)
            for index, reference in enumerate(references):
                found = self._find(task, reference, index)
                if found is None:
                    name = _ours(task, "loco_shot", index) or reference or "none"
                    missing.append(f"{name[:_LONGEST_SHOWN]} (task {task.id})")
                else:
                    shown.setdefault(place, {})[reference] = found
        if missing:
            folders = ", ".join(str(folder) for folder, _ in self.records)
            raise AnnotationError(
                f"{export.path}: names {len(missing)} images that are not in {folders}: "
                f"{shortened(missing)}; next step: give their session with --session, or export "
                "only the tasks of this one"
            )
        return shown

    def _find(self, task: Task, reference: str | None, index: int) -> Photograph | None:
        name = task.data.get("loco_class")
        if isinstance(name, str) and name != self.class_name:
            return None
        session = task.data.get("loco_session")
        found = self._candidates(task, reference, index)
        if isinstance(session, str):
            found = [one for one in found if one.record.session == session]
        if len(found) > 1:
            raise AnnotationError(
                f"task {task.id}: its image could be {found[0].path} or {found[1].path}; next "
                "step: give one session only, or put loco_session and loco_shot into the task's "
                "data"
            )
        drawn_on = _ours(task, "loco_sha256", index)
        if found and drawn_on not in {None, found[0].shot.sha256}:
            raise AnnotationError(
                f"task {task.id}: was drawn on another photograph than {found[0].path}, which has "
                "been taken again since; next step: push the session again, and mark the new one"
            )
        return found[0] if found else None

    def _candidates(self, task: Task, reference: str | None, index: int) -> list[Photograph]:
        shot, sha256 = (_ours(task, key, index) for key in ("loco_shot", "loco_sha256"))
        if shot is not None:
            return self._by_shot.get(shot, [])
        if sha256 is not None:
            return self._by_hash.get(sha256, [])
        if reference is None:
            return []
        embedded = embedded_sha256(reference)
        if embedded is not None:
            return self._by_hash.get(embedded, [])
        stored = stored_file(reference, self._storages)
        if stored is not None:
            return self._by_hash.get(files.sha256_of(stored), [])
        check_trusted(reference)
        return [one for name in names_of(reference) for one in self._by_file.get(name, [])]


def _ours(task: Task, key: str, index: int) -> str | None:
    """What the task's data say of its image number `index` under a key that we wrote."""
    found = task.data.get(key)
    if isinstance(found, dict):
        found = [shot for name, shot in found.items() if name in task.data]
    if isinstance(found, list):
        found = found[index] if index < len(found) else None
    elif index > 0:
        return None
    return found if isinstance(found, str) else None


def _check_splits(photographs: Iterable[Photograph]) -> None:
    """Refuse a part whose photographs lie in two splits: a detector would be tested on it."""
    splits: dict[tuple[str, str], Photograph] = {}
    for photograph in photographs:
        shot = photograph.shot
        first = splits.setdefault((photograph.record.session, shot.part), photograph)
        if first.shot.split != shot.split:
            raise AnnotationError(
                f"{photograph.session}: part {shot.part} lies in two splits, {first.shot.split} "
                f"({first}) and {shot.split} ({photograph}); next step: correct its journal"
            )


def shortened(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
