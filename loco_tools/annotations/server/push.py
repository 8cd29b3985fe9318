"""From a capture session to a Label Studio project, which can be done again at any time.

A task shows one photograph, or all views of one part when the plan has several. Its data carry
what we know it by (`loco_class`, `loco_session`, `loco_shot`, `loco_sha256`; lists, page by page,
when it shows several), so nothing depends on what the server calls an image.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from loco_tools.annotations.photographs import image_bytes
from loco_tools.annotations.server.client import Project, Server, ServerTask
from loco_tools.annotations.server.labelling_config import IMAGE, labelling_config
from loco_tools.annotations.server.pre_annotations import Proposals, results_of
from loco_tools.annotations.taxonomy import Taxonomy, check_against_plan, load_taxonomy
from loco_tools.capture.session import Session, Shot, read_session, read_shots
from loco_tools.errors import AnnotationError, LabelStudioError
from loco_tools.progress import SILENT, Progress

_BATCH = 20
"""Tasks that are uploaded before the server hears of them; what an interruption can lose."""

_NOTES_SHOWN = 20


@dataclass(frozen=True)
class PartTask:
    """What one task shows: one photograph, or all views of a part in the order of the plan."""

    shots: tuple[Shot, ...]
    several: bool

    @property
    def key(self) -> tuple[str, ...]:
        """What it is known by within its session."""
        return tuple(shot.shot for shot in self.shots)

    def data(self, record: Session, references: Sequence[str]) -> dict[str, Any]:
        """The task's data; `references` say where its images are."""

        def each(values: Sequence[str]) -> str | list[str]:
            return list(values) if self.several else values[0]

        return {
            IMAGE: each(references),
            "loco_class": record.name,
            "loco_session": record.session,
            "loco_part": self.shots[0].part,
            "loco_shot": each([shot.shot for shot in self.shots]),
            "loco_view": each([shot.view for shot in self.shots]),
            "loco_sha256": each([shot.sha256 for shot in self.shots]),
            "loco_simulated": record.simulated,
        }


@dataclass(frozen=True)
class PushReport:
    """What a push did: tasks added, images replaced after a retake, tasks that were there."""

    url: str
    project: str
    project_id: int
    created: bool
    simulated: bool
    added: int
    replaced: int
    unchanged: int
    predictions: int
    notes: tuple[str, ...]

    def describe(self) -> str:
        """A few lines for a person."""
        counts = f"{self.added} tasks added, {self.replaced} replaced, {self.unchanged} unchanged"
        if self.predictions:
            counts += f"; {self.predictions} predictions"
        lines = [f"{self.project}: {counts} -> {self.url}/projects/{self.project_id}/data"]
        if self.simulated:
            lines[0] += " (SIMULATED images)"
        lines += [f"note: {note}" for note in self.notes[:_NOTES_SHOWN]]
        if len(self.notes) > _NOTES_SHOWN:
            lines.append(f"note: and {len(self.notes) - _NOTES_SHOWN} more")
        return "\n".join(lines)

    def as_record(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        return asdict(self)


def push(
    session: Path,
    *,
    url: str,
    project: str,
    token: SecretStr,
    taxonomy: Taxonomy | None = None,
    with_good: bool = False,
    local_files: Path | None = None,
    predictions: Proposals | None = None,
    progress: Progress = SILENT,
) -> PushReport:
    """Make or update a Label Studio project that shows the photographs of a session.

    Tasks that are there are left alone, whether annotated or not; a photograph that was taken
    again since replaces the old one while nobody has annotated it. A part whose views are not all
    photographed yet waits for the next push. Sessions of one class can share a project.

    Args:
        session: folder of the session.
        url: address of the server.
        project: title of the project, of at least 3 characters.
        token: see `server.read_token`.
        taxonomy: of the class; default: the one of its name.
        with_good: also show the good parts, which need no annotation.
        local_files: the folder that the server serves to its local storages, with the session in
            it: images are then shown from there instead of being uploaded.
        predictions: become pre-annotations, in place of those of the same version.
        progress: where to report to.

    Raises:
        AnnotationError: the session has nothing to show, an image is damaged, or the session does
            not lie in `local_files`.
        LabelStudioError: the server cannot be reached or refuses, or the project shows other
            things.
        CaptureError: the session cannot be read.
        DefinitionError: the taxonomy is missing or does not fit the session's plan.
    """
    record = read_session(session)
    taxonomy = taxonomy or load_taxonomy(record.name)
    check_against_plan(taxonomy, record.plan)
    wanted, notes = _tasks(session, record, with_good=with_good)
    source = _Source(session, local_files)
    server = Server(url, token)
    target, created = _project(server, project, record, labelling_config(taxonomy, record.plan))
    if local_files is not None:
        server.add_local_storage(target, source.images)
    there = _ours(server, target, record)
    new = [task for task in wanted if task.key not in there]
    retaken = [task for task in wanted if task.key in there and _retaken(task, there[task.key])]
    free = [task for task in retaken if not there[task.key].annotated]
    notes += [
        f"{'/'.join(task.key)}: taken again, but already annotated; left alone"
        for task in retaken
        if task not in free
    ]
    with progress.task(f"push {record.session}", len(new) + len(free)) as advance:
        for batch in _batches(new):
            server.add_tasks(target, source.data(server, target, record, batch))
            advance(len(batch))
        for task in free:
            [data] = source.data(server, target, record, [task])
            server.update_task(there[task.key].id, data)
            advance(1)
    predicted = _predict(server, target, record, wanted, predictions) if predictions else 0
    return PushReport(
        url=server.url,
        project=target.title,
        project_id=target.id,
        created=created,
        simulated=record.simulated,
        added=len(new),
        replaced=len(free),
        unchanged=len(wanted) - len(new) - len(free),
        predictions=predicted,
        notes=tuple(notes),
    )


def _batches(tasks: Sequence[PartTask]) -> Iterator[Sequence[PartTask]]:
    for first in range(0, len(tasks), _BATCH):
        yield tasks[first : first + _BATCH]


def _tasks(session: Path, record: Session, *, with_good: bool) -> tuple[list[PartTask], list[str]]:
    """The tasks of a session, and what has to wait."""
    views = [view.name for view in record.plan.views]
    shots = [shot for shot in read_shots(session) if with_good or shot.kind != "good"]
    tasks, notes = [], []
    for part, group in groupby(sorted(shots, key=lambda shot: shot.part), lambda shot: shot.part):
        seen = sorted(group, key=lambda shot: views.index(shot.view))
        missing = [view for view in views if view not in {shot.view for shot in seen}]
        if missing:
            notes.append(f"{part}: waits for its photographs {', '.join(missing)}")
        else:
            tasks.append(PartTask(tuple(seen), several=len(views) > 1))
    if not tasks:
        raise AnnotationError(
            f"{session}: has no photographs of {'parts' if with_good else 'anomalous parts'} to "
            "show; next step: go on with loco-tools capture"
            + ("" if with_good else ", or show the good parts too with --with-good")
        )
    return tasks, notes


@dataclass(frozen=True)
class _Source:
    """Where the server gets the images from: uploads, or a folder on its own disk."""

    session: Path
    local_files: Path | None

    def __post_init__(self) -> None:
        root = self.local_files
        if root is not None and not self.images.is_relative_to(root.resolve()):
            raise AnnotationError(
                f"--local-files {root}: expected the folder that Label Studio serves, with the "
                f"session in it, got {self.images} outside of it"
            )

    @property
    def images(self) -> Path:
        """The folder of the photographs."""
        return (self.session / "images").resolve()

    def data(
        self, server: Server, project: Project, record: Session, tasks: Sequence[PartTask]
    ) -> list[dict[str, Any]]:
        """The data of some tasks, whose images are within the server's reach afterwards."""
        shots = [shot for task in tasks for shot in task.shots]
        contents = [image_bytes(self.session / shot.file, shot.sha256) for shot in shots]
        if self.local_files is None:
            names = [f"{re.sub(r'[^A-Za-z0-9_-]', '_', shot.shot)}.png" for shot in shots]
            found = iter(server.upload(project, list(zip(names, contents, strict=True))))
        else:
            root = self.local_files.resolve()
            paths = [(self.session / shot.file).resolve() for shot in shots]
            found = iter([_local(path.relative_to(root)) for path in paths])
        return [task.data(record, [next(found) for _ in task.shots]) for task in tasks]


def _local(path: Path) -> str:
    return f"/data/local-files/?d={quote(path.as_posix())}"


def _project(server: Server, title: str, record: Session, config: str) -> tuple[Project, bool]:
    """The project with its labelling configuration up to date, and whether it is new."""
    found = server.find_project(title)
    if found is None:
        origin = "SIMULATED images of a digital twin" if record.simulated else "photographs"
        description = f"{record.plan.part.title} ({record.name}): {origin}"
        return server.create_project(title, config, description), True
    strangers = {
        str(task.data.get("loco_class", "other things"))
        for task in server.tasks(found)
        if task.data.get("loco_class") != record.name
    }
    if strangers:
        raise LabelStudioError(
            f'{server.url}: expected the project "{title}" to show {record.name}, but it shows '
            f"{', '.join(sorted(strangers))}; next step: give another --project"
        )
    if found.config.strip() != config.strip():
        server.update_project(found, label_config=config)
    return found, False


def _ours(server: Server, project: Project, record: Session) -> dict[tuple[str, ...], ServerTask]:
    """The tasks that show this session, by their keys; the first where there are two."""
    found: dict[tuple[str, ...], ServerTask] = {}
    for task in server.tasks(project):
        if task.data.get("loco_session") == record.session:
            found.setdefault(tuple(_listed(task.data, "loco_shot")), task)
    return found


def _retaken(task: PartTask, there: ServerTask) -> bool:
    return _listed(there.data, "loco_sha256") != [shot.sha256 for shot in task.shots]


def _listed(data: Mapping[str, Any], key: str) -> list[str]:
    found = data.get(key)
    return [str(one) for one in found] if isinstance(found, list) else [str(found)]


def _predict(
    server: Server,
    project: Project,
    record: Session,
    wanted: Sequence[PartTask],
    proposals: Proposals,
) -> int:
    there = _ours(server, project, record)
    added = list(_predictions(wanted, there, proposals))
    count = server.replace_predictions(project, proposals.version, added)
    if count:
        server.update_project(
            project, model_version=proposals.version, show_collab_predictions=True
        )
    return count


def _predictions(
    wanted: Sequence[PartTask],
    there: Mapping[tuple[str, ...], ServerTask],
    proposals: Proposals,
) -> Iterator[dict[str, Any]]:
    for task in wanted:
        known = [(i, s) for i, s in enumerate(task.shots) if s.shot in proposals.by_shot]
        if known:
            yield {
                "task": there[task.key].id,
                "score": max(proposals.by_shot[shot.shot].score for _, shot in known),
                "result": [
                    item
                    for index, shot in known
                    for item in results_of(
                        proposals.by_shot[shot.shot], shot, index if task.several else None
                    )
                ],
            }
