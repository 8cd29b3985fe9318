"""A client of a Label Studio server, based on label-studio-sdk.

The token comes from an environment variable or a file. It is kept as a secret value, is sent to the
server only, and is removed from the server's answers before they become error messages. Personal
access tokens (which are exchanged for short-lived tokens) and legacy tokens work.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from pydantic import SecretStr

from loco_tools import extras
from loco_tools.errors import LabelStudioError, did_you_mean
from loco_tools.wording import plural

VARIABLE = "LABEL_STUDIO_API_KEY"
"""Name of the environment variable that holds the token."""

_TIMEOUT_S = 60.0
_PAGE = 200
_ONCE = {"max_retries": 0}
"""Options of requests that must not be repeated, because each repetition takes effect again."""
_REFUSED = (401, 403)
_SHORT_LIVED = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
"""The short-lived tokens for which personal access tokens are exchanged."""
_LONGEST_DETAIL = 300


@dataclass(frozen=True)
class Project:
    """A project of the server."""

    id: int
    title: str
    config: str


@dataclass(frozen=True)
class ServerTask:
    """A task of a project: its data as imported, and whether somebody has annotated it."""

    id: int
    data: Mapping[str, Any]
    annotated: bool


def read_token(token_file: Path | None = None) -> SecretStr:
    """The token from a file, or from the environment variable `LABEL_STUDIO_API_KEY`.

    Raises:
        LabelStudioError: there is no token, or it is malformed; the message never contains it.
    """
    if token_file is None:
        origin, text = VARIABLE, os.environ.get(VARIABLE, "")
    else:
        origin = str(token_file)
        try:
            text = token_file.read_text(encoding="utf-8")
        except OSError as error:
            raise LabelStudioError(f"{token_file}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError:
            text = "\0"  # refused below
    token = text.strip()
    if not re.fullmatch(r"[!-~]+", token):
        got = "none" if not token else "something with spaces or special characters in it"
        raise LabelStudioError(
            f"{origin}: expected a Label Studio token, got {got}; next step: create a personal "
            "access token in Label Studio (Account & Settings), and put it into the environment "
            f"variable {VARIABLE} or a file given with --token-file"
        )
    return SecretStr(token)


class Server:
    """One server, accessed with the rights of the person to whom the token belongs.

    Every method blocks until the server has answered, at most a minute for each request, and raises
    `LabelStudioError` when the server cannot be reached, refuses the token, or reports an error.

    Args:
        url: address of the server, without user name and password.
        token: personal access token or legacy token.
    """

    def __init__(self, url: str, token: SecretStr) -> None:
        extras.require("Label Studio", "labelstudio")
        import httpx
        from label_studio_sdk import LabelStudio

        try:
            parts = urlsplit(url)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
            has_password = parts.username is not None or parts.password is not None
        except ValueError:
            valid, has_password = False, False
        if has_password:
            raise LabelStudioError("--url: expected an address without user name and password")
        if not valid or parts.query or parts.fragment:
            raise LabelStudioError(
                f"--url: expected the address of a Label Studio server such as "
                f"http://127.0.0.1:8080, got {url!r}"
            )
        self.url = url.rstrip("/")
        self._token = token
        self._http = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=True)
        with self._explained("connect"):
            self._api: Any = LabelStudio(
                base_url=self.url, api_key=token.get_secret_value(), httpx_client=self._http
            )

    def __repr__(self) -> str:
        return f"Server({self.url!r})"

    def projects(self) -> list[Project]:
        """Every project that the person has access to."""
        with self._explained("list its projects"):
            projects = self._api.projects.list(page_size=_PAGE)
            return [Project(p.id, p.title or "", p.label_config or "") for p in projects]

    def project(self, title: str) -> Project:
        """The project of that title.

        Raises:
            LabelStudioError: there is none, or there are several.
        """
        project = self.find_project(title)
        if project is None:
            known = {project.title for project in self.projects()}
            raise LabelStudioError(
                f'{self.url}: no project "{title}"; {did_you_mean(title, known)}'
            )
        return project

    def find_project(self, title: str) -> Project | None:
        """The project of that title, or None.

        Raises:
            LabelStudioError: there are several.
        """
        projects = [project for project in self.projects() if project.title == title]
        if len(projects) > 1:
            numbers = ", ".join(str(project.id) for project in projects)
            raise LabelStudioError(
                f'{self.url}: expected one project "{title}", got {len(projects)} (numbers '
                f"{numbers}); next step: rename all but one"
            )
        return projects[0] if projects else None

    def create_project(self, title: str, config: str, description: str) -> Project:
        """Create a project with a labelling configuration."""
        with self._explained(f'create the project "{title}"'):
            created = self._api.projects.create(
                title=title, label_config=config, description=description, request_options=_ONCE
            )
            return Project(created.id, title, config)

    def update_project(self, project: Project, **changes: Any) -> None:
        """Change settings of a project, named as label-studio-sdk names them."""
        with self._explained(f'update the project "{project.title}"'):
            self._api.projects.update(project.id, **changes)

    def tasks(self, project: Project) -> list[ServerTask]:
        """Every task of a project."""
        with self._explained(f'list the tasks of "{project.title}"'):
            tasks = self._api.tasks.list(project=project.id, page_size=_PAGE, resolve_uri=False)
            return [
                ServerTask(
                    task.id,
                    dict(task.data or {}),
                    bool(task.total_annotations or task.cancelled_annotations),
                )
                for task in tasks
            ]

    def add_tasks(self, project: Project, data: Sequence[Mapping[str, Any]]) -> None:
        """Add tasks to a project; the server takes all of them or none."""
        with self._explained(f'add tasks to "{project.title}"'):
            self._api.projects.import_tasks(
                project.id, request=[{"data": dict(task)} for task in data], request_options=_ONCE
            )

    def update_task(self, task: int, data: Mapping[str, Any]) -> None:
        """Replace the data of a task."""
        with self._explained(f"update task {task}"):
            self._api.tasks.update(str(task), data=dict(data))

    def upload(self, project: Project, images: Sequence[tuple[str, bytes]]) -> list[str]:
        """Upload PNG images without creating tasks for them.

        Args:
            project: the project to which they belong.
            images: name and content of each image.

        Returns:
            The references by which tasks name the images, in the same order.
        """
        # label-studio-sdk has no call that uploads files
        parts = [
            (f"image{number}", (name, content, "image/png"))
            for number, (name, content) in enumerate(images)
        ]
        token = self._token.get_secret_value()
        with self._explained(f'upload images to "{project.title}"'):
            if token.count(".") == 2:  # a personal access token
                authorization = f"Bearer {self._api.tokens.refresh(refresh=token).access}"
            else:
                authorization = f"Token {token}"
            answer = self._http.post(
                f"{self.url}/api/projects/{project.id}/import",
                params={"commit_to_project": "false"},
                files=parts,
                headers={"Authorization": authorization},
            )
            answer.raise_for_status()
            numbers = answer.json()["file_upload_ids"]
            stored = [str(self._api.files.get(number).file) for number in numbers]
        names = [name for name, _ in images]
        if len(stored) != len(names) or any(
            not file.endswith(name) for file, name in zip(stored, names, strict=True)
        ):
            raise LabelStudioError(
                f"{self.url}: expected it to keep {', '.join(names)}, got {', '.join(stored)}"
            )
        return [f"/data/{file}" for file in stored]

    def add_local_storage(self, project: Project, folder: Path) -> None:
        """Let a project show the files of a folder on the server's own disk."""
        with self._explained(f"register the local storage {folder}"):
            storages = self._api.import_storage.local.list(project=project.id)
            if str(folder) not in {storage.path for storage in storages}:
                self._api.import_storage.local.create(
                    project=project.id,
                    path=str(folder),
                    title=folder.parent.name,
                    use_blob_urls=True,
                    request_options=_ONCE,
                )

    def replace_predictions(
        self, project: Project, version: str, predictions: Iterable[Mapping[str, Any]]
    ) -> int:
        """Replace the predictions of one model version.

        Args:
            project: the project that has the tasks.
            version: the model version.
            predictions: the new predictions, each with task, result and score.

        Returns:
            The number of new predictions.
        """
        with self._explained(f'add predictions to "{project.title}"'):
            for old in self._api.predictions.list(project=project.id):
                if old.model_version == version:
                    self._api.predictions.delete(old.id)
            added = [{**item, "model_version": version} for item in predictions]
            if not added:
                return 0
            answer = self._api.projects.import_predictions(
                project.id, request=added, request_options=_ONCE
            )
            created = int(answer.created)
        if created != len(added):
            refused = f"{len(added) - created} of {plural(len(added), 'prediction')}"
            raise LabelStudioError(
                f"{self.url}: refused {refused} for "
                f'"{project.title}"; next step: look into the server\'s log'
            )
        return created

    def begin_snapshot(self, project: Project) -> int:
        """Request an export snapshot of every task, and return the id of the snapshot."""
        with self._explained(f'make a snapshot of "{project.title}"'):
            options = {"drafts": {"only_id": True}, "predictions": {"only_id": False}}
            snapshot = self._api.projects.exports.create(
                project.id,
                title="loco-tools",
                serialization_options=options,
                request_options=_ONCE,
            )
            return int(snapshot.id)

    def snapshot_status(self, project: Project, snapshot: int) -> str:
        """The state of a snapshot: created, in_progress, completed or failed."""
        with self._explained(f"ask for snapshot {snapshot}"):
            return str(self._api.projects.exports.get(project.id, snapshot).status)

    def download_snapshot(self, project: Project, snapshot: int, into: BinaryIO) -> None:
        """Write a completed snapshot as JSON to a stream, chunk by chunk."""
        with self._explained(f"download snapshot {snapshot}"):
            chunks = self._api.projects.exports.download(
                project.id, snapshot, export_type="JSON", request_options=_ONCE
            )
            into.writelines(chunks)

    def delete_snapshot(self, project: Project, snapshot: int) -> None:
        """Remove a snapshot from the server."""
        with self._explained(f"delete snapshot {snapshot}"):
            self._api.projects.exports.delete(project.id, snapshot)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn every error of a request into a message that does not contain the token."""
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        try:
            yield
        except ApiError as error:
            raise self._answered(what, error.status_code, error.body) from None
        except httpx.HTTPStatusError as error:
            try:
                body = error.response.json()
            except ValueError:
                body = None
            raise self._answered(what, error.response.status_code, body) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = self._without_token(str(error)) or type(error).__name__
            raise LabelStudioError(
                f"{self.url}: no Label Studio answers there ({reason}), so loco-tools could not "
                f"{what}; next step: check --url, and that the server is running",
                temporary=True,
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._no_label_studio(what) from None

    def _answered(self, what: str, status: int | None, body: Any) -> LabelStudioError:
        detail = ""
        if isinstance(body, dict):  # an HTML page has no such keys
            reasons = [str(body[key]) for key in ("detail", "validation_errors") if body.get(key)]
            detail = f": {'; '.join(reasons)}"[:_LONGEST_DETAIL] if reasons else ""
        detail = self._without_token(detail)
        if status in _REFUSED:
            return LabelStudioError(
                f"{self.url}: refuses the token ({status}{detail}), so loco-tools could not "
                f"{what}; expected a valid personal access token, or a legacy token where the "
                "organisation allows them; next step: create a new one in Label Studio (Account & "
                "Settings)"
            )
        if not isinstance(body, dict) and (status is None or status < 500):
            return self._no_label_studio(what)
        return LabelStudioError(
            f"{self.url}: could not {what}; the server answered {status}{detail}",
            temporary=status is not None and status >= 500,
        )

    def _no_label_studio(self, what: str) -> LabelStudioError:
        return LabelStudioError(
            f"{self.url}: expected the answers of a Label Studio server, got something else, so "
            f"loco-tools could not {what}; next step: check --url"
        )

    def _without_token(self, text: str) -> str:
        return _SHORT_LIVED.sub("***", text.replace(self._token.get_secret_value(), "***"))
