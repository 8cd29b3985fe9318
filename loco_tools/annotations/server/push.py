"""Upload a capture session to a Label Studio project; pushing again adds what is new.

A task shows one photograph, or all views of one part when the plan has several. Its data hold our
own identifiers (`loco_class`, `loco_session`, `loco_shot`, `loco_sha256`; lists, page by page, when
it shows several photographs), so nothing depends on the server's names of the images.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from loco_tools.annotations.server.client import Project, Server, ServerTask
from loco_tools.annotations.server.labelling_config import IMAGE, labelling_config
from loco_tools.annotations.server.pre_annotations import Proposals, results_of
from loco_tools.annotations.session_images import image_bytes
from loco_tools.annotations.taxonomy import Taxonomy, check_against_plan, load_taxonomy
from loco_tools.capture.session import Session, Shot, read_session, read_shots
from loco_tools.errors import AnnotationError, LabelStudioError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import plural

_BATCH = 20
"""Tasks per request; an interruption loses the images uploaded for at most so many tasks."""

_NOTES_SHOWN = 20


@dataclass(frozen=True)
class PartTask:
    """The content of one task: one photograph, or all views of a part in the order of the plan."""

    shots: tuple[Shot, ...]
    several: bool

    @property
    def key(self) -> tuple[str, ...]:
        """The names of its shots, which identify it within its session."""
        return tuple(shot.shot for shot in self.shots)

    def data(self, record: Session, references: Sequence[str]) -> dict[str, Any]:
        """The task's data; `references` locate its images, one per shot."""

        def list_or_single(values: Sequence[str]) -> str | list[str]:
            return list(values) if self.several else values[0]

        return {
            IMAGE: list_or_single(references),
            "loco_class": record.name,
            "loco_session": record.session,
            "loco_part": self.shots[0].part,
            "loco_shot": list_or_single([shot.shot for shot in self.shots]),
            "loco_view": list_or_single([shot.view for shot in self.shots]),
            "loco_sha256": list_or_single([shot.sha256 for shot in self.shots]),
            "loco_simulated": record.simulated,
        }


@dataclass(frozen=True)
class PushReport:
    """The result of a push: the numbers of tasks added, replaced after a retake, and unchanged."""

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
        added = plural(self.added, "task")
        counts = f"{added} added, {self.replaced} replaced, {self.unchanged} unchanged"
        if self.predictions:
            counts += f"; {plural(self.predictions, 'prediction')}"
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

    Existing tasks stay as they are, whether annotated or not, with one exception: a photograph that
    was taken again replaces the old one as long as nobody has annotated it. A part whose views are
    not all photographed yet waits for the next push. Sessions of one class can share a project.

    Args:
        session: folder of the session.
        url: address of the server.
        project: title of the project, of at least 3 characters.
        token: see `client.read_token`.
        taxonomy: the taxonomy of the class; by default the one with the name of the class.
        with_good: also show the good parts, which need no annotation.
        local_files: the folder that the server serves as local storage. It must contain the
            session, whose images are then shown from there instead of being uploaded.
        predictions: proposals that become pre-annotations and replace those of the same version.
        progress: where progress is reported.

    Returns:
        The numbers of tasks added, replaced and unchanged, and notes for a person.

    Raises:
        AnnotationError: the session has nothing to show, an image is damaged, or the session does
            not lie in `local_files`.
        LabelStudioError: the server cannot be reached or refuses, or the project shows images of
            another class.
        CaptureError: the session cannot be read.
        DefinitionError: the taxonomy is missing or does not fit the session's plan.
    """
    record = read_session(session)
    taxonomy = taxonomy or load_taxonomy(record.name)
    check_against_plan(taxonomy, record.plan)
    tasks, notes = _tasks_of_session(session, record, with_good=with_good)
    source = _ImageSource(session, local_files)
    server = Server(url, token)
    config = labelling_config(taxonomy, record.plan)
    target, created = _open_project(server, project, record, config)
    if local_files is not None:
        server.add_local_storage(target, source.images)
    existing = _tasks_on_server(server, target, record)
    new = [task for task in tasks if task.key not in existing]
    replaceable = []
    for task in tasks:
        known = existing.get(task.key)
        if known and _as_list(known.data, "loco_sha256") != [shot.sha256 for shot in task.shots]:
            if known.annotated:
                key = "/".join(task.key)
                notes.append(f"{key}: taken again, but already annotated; left alone")
            else:
                replaceable.append(task)
    with progress.task(f"push {record.session}", len(new) + len(replaceable)) as advance:
        for first in range(0, len(new), _BATCH):
            batch = new[first : first + _BATCH]
            server.add_tasks(target, source.data(server, target, record, batch))
            advance(len(batch))
        for task in replaceable:
            [data] = source.data(server, target, record, [task])
            server.update_task(existing[task.key].id, data)
            advance(1)
    return PushReport(
        url=server.url,
        project=target.title,
        project_id=target.id,
        created=created,
        simulated=record.simulated,
        added=len(new),
        replaced=len(replaceable),
        unchanged=len(tasks) - len(new) - len(replaceable),
        predictions=_push_predictions(server, target, record, tasks, predictions),
        notes=tuple(notes),
    )


def _tasks_of_session(
    session: Path, record: Session, *, with_good: bool
) -> tuple[list[PartTask], list[str]]:
    """The tasks of a session, and notes on parts whose views are not complete."""
    views = [view.name for view in record.plan.views]
    shots = [shot for shot in read_shots(session) if with_good or shot.kind != "good"]
    tasks, notes = [], []
    for part, group in groupby(sorted(shots, key=lambda shot: shot.part), lambda shot: shot.part):
        part_shots = sorted(group, key=lambda shot: views.index(shot.view))
        missing = [view for view in views if view not in {shot.view for shot in part_shots}]
        if missing:
            notes.append(f"{part}: waits for its photographs {', '.join(missing)}")
        else:
            tasks.append(PartTask(tuple(part_shots), several=len(views) > 1))
    if not tasks:
        raise AnnotationError(
            f"{session}: has no photographs of {'parts' if with_good else 'anomalous parts'} to "
            "show; next step: go on with loco-tools capture"
            + ("" if with_good else ", or show the good parts too with --with-good")
        )
    return tasks, notes


@dataclass(frozen=True)
class _ImageSource:
    """The source of the server's images: uploads, or a folder on the server's own disk."""

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
        """The data of some tasks, after making their images available to the server."""
        shots = [shot for task in tasks for shot in task.shots]
        contents = [image_bytes(self.session / shot.file, shot.sha256) for shot in shots]
        if self.local_files is None:
            names = [f"{re.sub(r'[^A-Za-z0-9_-]', '_', shot.shot)}.png" for shot in shots]
            references = iter(server.upload(project, list(zip(names, contents, strict=True))))
        else:
            root = self.local_files.resolve()
            paths = [(self.session / shot.file).resolve() for shot in shots]
            relative = [quote(path.relative_to(root).as_posix()) for path in paths]
            references = iter([f"/data/local-files/?d={path}" for path in relative])
        return [task.data(record, [next(references) for _ in task.shots]) for task in tasks]


def _open_project(server: Server, title: str, record: Session, config: str) -> tuple[Project, bool]:
    """The project with its labelling configuration up to date, and whether it is new."""
    project = server.find_project(title)
    if project is None:
        origin = "SIMULATED images of a digital twin" if record.simulated else "photographs"
        description = f"{record.plan.part.title} ({record.name}): {origin}"
        return server.create_project(title, config, description), True
    others = {
        str(task.data.get("loco_class", "images of unknown origin"))
        for task in server.tasks(project)
        if task.data.get("loco_class") != record.name
    }
    if others:
        raise LabelStudioError(
            f'{server.url}: expected the project "{title}" to show {record.name}, but it shows '
            f"{', '.join(sorted(others))}; next step: give another --project"
        )
    if project.config.strip() != config.strip():
        server.update_project(project, label_config=config)
    return project, False


def _tasks_on_server(
    server: Server, project: Project, record: Session
) -> dict[tuple[str, ...], ServerTask]:
    """The tasks that show this session, by their keys; the first one where a key occurs twice."""
    tasks: dict[tuple[str, ...], ServerTask] = {}
    for task in server.tasks(project):
        if task.data.get("loco_session") == record.session:
            tasks.setdefault(tuple(_as_list(task.data, "loco_shot")), task)
    return tasks


def _as_list(data: Mapping[str, Any], key: str) -> list[str]:
    content = data.get(key)
    return [str(item) for item in content] if isinstance(content, list) else [str(content)]


def _push_predictions(
    server: Server,
    project: Project,
    record: Session,
    tasks: Sequence[PartTask],
    proposals: Proposals | None,
) -> int:
    """Replace the predictions of every task that has proposals; the number of predictions."""
    if proposals is None:
        return 0
    existing = _tasks_on_server(server, project, record)
    predictions = []
    for task in tasks:
        known = [(i, s) for i, s in enumerate(task.shots) if s.shot in proposals.by_shot]
        if known:
            result = [
                item
                for index, shot in known
                for item in results_of(
                    proposals.by_shot[shot.shot], shot, index if task.several else None
                )
            ]
            score = max(proposals.by_shot[shot.shot].score for _, shot in known)
            number = existing[task.key].id
            predictions.append({"task": number, "score": score, "result": result})
    count = server.replace_predictions(project, proposals.version, predictions)
    if count:
        server.update_project(
            project, model_version=proposals.version, show_collab_predictions=True
        )
    return count
