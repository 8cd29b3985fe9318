"""The images of a class: its sessions, and which task of an export shows which shot."""

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
from loco_tools.wording import listed, plural

CAPTURES = Path("captures")

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LISTED = 10
_SAME_SCALE = 0.02
_LONGEST_SHOWN = 80


@dataclass(frozen=True, eq=False)
class SessionImage:
    """The image of one accepted shot of one session."""

    session: Path
    record: Session
    shot: Shot

    @property
    def path(self) -> Path:
        """The image file."""
        return self.session / self.shot.file

    def __str__(self) -> str:
        return f"{self.record.session}/{self.shot.shot}"


def image_bytes(path: Path, sha256: str) -> bytes:
    """The content of an image file, checked against the hash in the session's journal.

    Args:
        path: the image file.
        sha256: hash of the content when the photograph was taken.

    Raises:
        AnnotationError: the file cannot be read, or its content has changed.
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

    Session names in tasks (`loco_class`, `loco_session`) are looked up under `captures/`, and only
    when the export does not lie in a session and none is given.

    Raises:
        AnnotationError: there is no session.
    """
    own = [export.path.parent] if (export.path.parent / RECORD).is_file() else []
    sessions = [*own, *given]
    if not sessions:
        for task in export.tasks:
            names = task.data.get("loco_class"), task.data.get("loco_session")
            if all(isinstance(name, str) and _PLAIN_NAME.fullmatch(name) for name in names):
                sessions.append(CAPTURES.joinpath(*map(str, names)))
    if not sessions:
        raise AnnotationError(
            f"{export.path}: lies in no session, and its tasks name none; next step: give the "
            "folder of the photographs with --session"
        )
    return list({folder.resolve(): folder for folder in sessions}.values())


class SessionImages:
    """Every image of the sessions of one class, in the order they were taken.

    Args:
        sessions: folders of the sessions.
        storages: local folders by the prefix of the image references that they stand for.

    Attributes:
        records: folder and record of every session.
        all: every image.

    Raises:
        AnnotationError: the sessions show different classes, two have the same name, or a part
            lies in two splits.
    """

    def __init__(self, sessions: Iterable[Path], storages: Storages | None = None) -> None:
        self._storages = storages or {}
        self.records = [(folder, read_session(folder)) for folder in sessions]
        classes = {record.name for _, record in self.records}
        names = {record.session for _, record in self.records}
        for expected, got, count in (
            ("one class", classes, 1),
            ("different names", names, len(self.records)),
        ):
            if len(got) != count:
                folders = ", ".join(str(folder) for folder, _ in self.records)
                raise AnnotationError(
                    f"expected sessions of {expected}, got {', '.join(sorted(got))} in {folders}"
                )
        self.all = [
            SessionImage(folder, record, shot)
            for folder, record in self.records
            for shot in read_shots(folder)
        ]
        self._by_shot: dict[str, list[SessionImage]] = {}
        self._by_hash: dict[str, list[SessionImage]] = {}
        self._by_file: dict[str, list[SessionImage]] = {}
        first_of_part: dict[tuple[str, str], SessionImage] = {}
        for image in self.all:
            self._by_shot.setdefault(image.shot.shot, []).append(image)
            self._by_hash.setdefault(image.shot.sha256, []).append(image)
            self._by_file.setdefault(image.path.name, []).append(image)
            part, split = image.shot.part, image.shot.split
            first = first_of_part.setdefault((image.record.session, part), image)
            if first.shot.split != split:  # a detector would be tested on a part it was trained on
                raise AnnotationError(
                    f"{image.session}: part {part} lies in two splits, {first.shot.split} "
                    f"({first}) and {split} ({image}); next step: correct its journal"
                )

    @property
    def class_name(self) -> str:
        """Name of the class that was photographed."""
        return self.records[0][1].name

    @property
    def scales(self) -> list[float | None]:
        """Pixels per mm in the first view of the plan, by session; None without a calibration."""
        return [record.px_per_mm.get(record.plan.views[0].name) for _, record in self.records]

    def notes(self) -> list[str]:
        """Notes on planned shots that were not taken, and on sessions with different scales."""
        notes = []
        for _, record in self.records:
            planned = {planned.shot for planned in record.plan.planned_shots()}
            taken = {image.shot.shot for image in self.all if image.record is record}
            if planned - taken:
                notes.append(
                    f"session {record.session}: {len(planned - taken)} of {len(planned)} planned "
                    "shots were not taken"
                )
        known = [scale for scale in self.scales if scale is not None]
        if known and max(known) > min(known) * (1 + _SAME_SCALE):
            notes.append(
                f"the sessions' scales differ ({min(known):.3g} to {max(known):.3g} px per mm); "
                f"saturation thresholds use {known[0]:.3g}"
            )
        return notes

    def shown_by(self, export: Export) -> dict[int, dict[str | None, SessionImage]]:
        """The images that each task shows: task number (from 0) -> image reference -> image.

        Our own ids in the task's data have priority: `loco_shot` is the name of a shot, a list of
        names in the order of the images, or one name for each key of the data that holds an image.
        Without them the SHA-256 of the content decides (`loco_sha256` in the same forms, or the
        hash of a data URL or of a file in a configured storage), and without that the name of the
        file, with or without the prefix of Label Studio.

        Raises:
            AnnotationError: tasks show images that no session has, or that two have, or refer to
                them by a URL or a path outside of their folder.
        """
        shown: dict[int, dict[str | None, SessionImage]] = {}
        missing: list[str] = []
        for number, task in enumerate(export.tasks):
            references: Sequence[str | None] = task.images or (None,)
            for index, reference in enumerate(references):
                image = self._find(task, reference, index)
                if image is None:
                    name = _loco_id(task, "loco_shot", index) or reference or "none"
                    missing.append(f"{name[:_LONGEST_SHOWN]} (task {task.id})")
                else:
                    shown.setdefault(number, {})[reference] = image
        if missing:
            folders = ", ".join(str(folder) for folder, _ in self.records)
            raise AnnotationError(
                f"{export.path}: names {plural(len(missing), 'image')} outside of {folders}: "
                f"{listed(missing, _LISTED)}; next step: give their session with --session, or "
                "export only the tasks of this one"
            )
        return shown

    def _find(self, task: Task, reference: str | None, index: int) -> SessionImage | None:
        """The image that image number `index` of a task shows; None when no session has it."""
        name = task.data.get("loco_class")
        if isinstance(name, str) and name != self.class_name:
            return None
        session = task.data.get("loco_session")
        images = self._candidates(task, reference, index)
        if isinstance(session, str):
            images = [image for image in images if image.record.session == session]
        if len(images) > 1:
            raise AnnotationError(
                f"task {task.id}: its image could be {images[0].path} or {images[1].path}; next "
                "step: give one session only, or put loco_session and loco_shot into the task's "
                "data"
            )
        drawn_on = _loco_id(task, "loco_sha256", index)
        if images and drawn_on not in {None, images[0].shot.sha256}:
            raise AnnotationError(
                f"task {task.id}: was drawn on another photograph than {images[0].path}, which has "
                "been taken again since; next step: push the session again, and annotate the new "
                "photograph"
            )
        return images[0] if images else None

    def _candidates(self, task: Task, reference: str | None, index: int) -> list[SessionImage]:
        shot, sha256 = (_loco_id(task, key, index) for key in ("loco_shot", "loco_sha256"))
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
        return [image for name in names_of(reference) for image in self._by_file.get(name, [])]


def _loco_id(task: Task, key: str, index: int) -> str | None:
    """Our own id of image number `index` of a task, under a key of the task's data."""
    ids = task.data.get(key)
    if isinstance(ids, dict):
        ids = [shot for name, shot in ids.items() if name in task.data]
    if isinstance(ids, list):
        ids = ids[index] if index < len(ids) else None
    elif index > 0:
        return None
    return ids if isinstance(ids, str) else None
