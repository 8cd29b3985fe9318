"""Against a real Label Studio server: push, annotate, pull, convert, load."""

import base64
import http.server
import io
import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import HEIGHT, WIDTH, box, brush_region, group_number
from loopback import JWT, LEGACY, free_port, listening
from PIL import Image
from pydantic import SecretStr

from loco_tools.annotations.convert import convert
from loco_tools.annotations.server import local_server
from loco_tools.annotations.server.client import Server, read_token
from loco_tools.annotations.server.labelling_config import labelling_config
from loco_tools.annotations.server.pre_annotations import proposals_of
from loco_tools.annotations.server.pull import pull
from loco_tools.annotations.server.push import push
from loco_tools.annotations.taxonomy import load_taxonomy
from loco_tools.capture.session import append_to_journal, read_session, read_shots
from loco_tools.datasets import load
from loco_tools.datasets.images import write_png
from loco_tools.datasets.maps import write_map
from loco_tools.errors import LabelStudioError, LocoToolsError
from loco_tools.files import sha256_of
from loco_tools.plan import load_plan

sdk = pytest.importorskip("label_studio_sdk", reason="needs the extra labelstudio")
httpx = pytest.importorskip("httpx")


@dataclass(frozen=True)
class Real:
    """The server, its two kinds of tokens, and its API as an annotator's browser uses it."""

    url: str
    legacy: SecretStr
    personal: SecretStr
    documents: Path

    @property
    def api(self) -> Any:
        return sdk.LabelStudio(base_url=self.url, api_key=self.legacy.get_secret_value())

    def tasks(self, project: str) -> dict[str, int]:
        """Shot, or first shot of a part -> task."""
        server = Server(self.url, self.legacy)
        shots = {t.id: t.data["loco_shot"] for t in server.tasks(server.project(project))}
        return {s if isinstance(s, str) else s[0]: task for task, s in shots.items()}

    def annotate(self, task: int, *result: Any, by: int = 1) -> None:
        self.api.annotations.create(id=task, result=list(result), completed_by=by)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    given = os.environ.get("LOCO_TOOLS_LABEL_STUDIO_VENV")
    environment = Path(given) if given else cache / "loco-tools" / "label-studio"
    try:
        command = local_server.install(environment)
    except (LabelStudioError, OSError) as error:
        pytest.skip(f"Label Studio cannot be installed here: {error}")
    folder, documents = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("documents")
    with local_server.running(command, folder, port=free_port(), documents=documents) as server:
        legacy = read_token(server.token_file)
        headers = {"Authorization": f"Token {legacy.get_secret_value()}"}
        personal = httpx.post(f"{server.url}/api/token/", headers=headers).json()["token"]
        yield Real(server.url, legacy, SecretStr(personal), documents)


def drawn(kind: str, label: str, name: str, item_index: int | None = None, **value: Any) -> Any:
    """A region as the browser sends it: the geometry, and the label with the same id."""
    common = {
        "id": name,
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "origin": "manual",
    }
    if item_index is not None:
        common["item_index"] = item_index
    return (
        {**common, "type": kind, "from_name": kind, "value": value},
        {**common, "type": "labels", "from_name": "label", "value": {**value, "labels": [label]}},
    )


def bitmask_url(mask: np.ndarray) -> str:
    pixels = np.zeros((*mask.shape, 4), dtype=np.uint8)
    pixels[..., 3] = mask * 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def brush(mask: np.ndarray) -> dict[str, Any]:
    value = brush_region(mask)["value"]
    return {"format": "rle", "rle": value["rle"]}


def angle_session(make_session: Callable[..., Path]) -> Path:
    """A session of three views, with defects that the angle has."""
    session = make_session(class_name="angle", truth={})
    for file in (session / "session.json", session / "shots.jsonl"):
        text = file.read_text().replace('"scratch"', '"deep_scratch"')
        file.write_text(text.replace('"misplaced_screw"', '"missing_hole"'))
    return session


@pytest.mark.parametrize("name", ["angle", "composite_part", "flat_connector"])
def test_the_server_accepts_every_labelling_configuration(real: Real, name: str) -> None:
    config = labelling_config(load_taxonomy(name), load_plan(name))
    made = Server(real.url, real.legacy).create_project(f"config of {name}", config, "")
    kept = Server(real.url, real.legacy).project(f"config of {name}")
    assert (kept.id, kept.config) == (made.id, config.strip())


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_a_push_can_be_repeated_with_either_token(
    real: Real, make_session: Callable[..., Path], kind: str
) -> None:
    session = make_session()
    settings = {"url": real.url, "project": f"twice {kind}", "token": getattr(real, kind)}
    first, again = push(session, **settings), push(session, **settings)
    assert (first.created, first.added, first.unchanged) == (True, 4, 0)
    assert (again.created, again.added, again.unchanged) == (False, 0, 4)
    everything = push(session, **settings, with_good=True)
    assert (everything.added, everything.unchanged) == (4, 4)
    tasks = Server(real.url, real.legacy).tasks(
        Server(real.url, real.legacy).project(f"twice {kind}")
    )
    assert sorted(task.data["loco_shot"] for task in tasks) == sorted(
        shot.shot for shot in read_shots(session)
    )


def test_uploaded_images_are_the_photographs(real: Real, make_session: Callable[..., Path]) -> None:
    session = make_session()
    push(session, url=real.url, project="images", token=real.legacy)
    server = Server(real.url, real.legacy)
    headers = {"Authorization": f"Token {real.legacy.get_secret_value()}"}
    for task in server.tasks(server.project("images")):
        shown = httpx.get(real.url + task.data["image"], headers=headers).content
        assert shown == (session / "images" / f"{task.data['loco_shot']}.png").read_bytes()


def test_what_two_people_drew_with_every_tool_arrives_in_the_class(
    real: Real, make_session: Callable[..., Path], tmp_path: Path
) -> None:
    session = make_session()
    push(session, url=real.url, project="round trip", token=real.personal)
    tasks = real.tasks("round trip")
    second = real.api.users.create(email="second@example.com", username="second").id
    ring, spot = box(5, 5, 40, 40) & ~box(12, 12, 30, 30), box(20, 30, 31, 47)
    triangle = [[10.0, 10.0], [90.0, 20.0], [30.0, 90.0]]
    real.annotate(tasks["p0004-top"], *drawn("brush", "dent", "other", **brush(spot)), by=second)
    real.annotate(
        tasks["p0004-top"],
        *drawn("brush", "scratch", "first", **brush(ring)),
        *drawn("polygon", "dent", "second", points=triangle, closed=True),
    )
    real.annotate(
        tasks["p0005-top"],
        *drawn("ellipse", "scratch", "first", x=40, y=50, radiusX=25, radiusY=20, rotation=30),
        *drawn("rectangle", "dent", "second", x=50, y=20, width=30, height=40, rotation=20),
    )
    real.annotate(
        tasks["p0006-top"],
        *drawn("bitmask", "misplaced_screw", "first", imageDataURL=bitmask_url(spot)),
        group_number("first", 1),
        *drawn("rectangle", "misplaced_screw", "second", x=0, y=0, width=25, height=25),
        group_number("second", 1),
    )
    real.annotate(tasks["p0007-top"], by=second)
    export = pull(
        url=real.url, project="round trip", token=real.personal, out=tmp_path / "labelstudio.json"
    )
    report = convert(export, out_root=tmp_path / "data", sessions=[session])
    assert not report.skipped
    defects = [defect for sample in load(report.folder).test for defect in sample.defects]
    names = ["dent", "dent", "misplaced_screw", "scratch", "scratch"]
    assert sorted(defect.name for defect in defects) == names
    both_places = spot | box(0, 0, 12, 16)
    masks = [defect.mask for defect in defects]
    for exact in (ring, both_places):
        assert any(np.array_equal(exact, mask) for mask in masks)
    a, b = 0.25 * WIDTH, 0.2 * HEIGHT
    width, height = 0.3 * WIDTH, 0.4 * HEIGHT
    corners = np.array(triangle) * (WIDTH / 100, HEIGHT / 100)
    sides = np.roll(corners, -1, axis=0) - corners
    cross = sides[0][0] * -sides[2][1] + sides[0][1] * sides[2][0]
    expected = [
        (math.pi * a * b, 2 * math.pi * max(a, b)),
        (width * height, 2 * (width + height)),
        (abs(cross) / 2, float(np.hypot(*sides.T).sum())),
    ]
    for area, perimeter in expected:
        assert any(abs(area - mask.sum()) <= perimeter for mask in masks), area
    lines = [json.loads(line) for line in report.sidecar.read_text().splitlines()]
    people = {line["shot"]: line["annotators"] for line in lines if line["annotators"]}
    assert sorted(people["p0004-top"]) == ["1", str(second)]


def test_views_are_pages_of_one_task_and_regions_stay_on_their_page(
    real: Real, make_session: Callable[..., Path], tmp_path: Path
) -> None:
    session = angle_session(make_session)
    report = push(session, url=real.url, project="views", token=real.legacy)
    assert report.added == 4
    tasks = real.tasks("views")
    spot = box(20, 30, 31, 47)
    for first_view, task in tasks.items():
        label = "deep_scratch" if first_view < "p0006" else "missing_hole"
        marks = drawn("brush", label, "only", item_index=1, **brush(spot))
        real.annotate(task, *(marks if first_view != "p0007-top" else ()))
    export = pull(url=real.url, project="views", token=real.legacy, out=tmp_path / "views.json")
    converted = convert(export, out_root=tmp_path / "data", sessions=[session])
    marked = [sample for sample in load(converted.folder).test if sample.defects]
    assert [(sample.part, sample.view) for sample in marked if sample.kind == "logical"] == [
        ("p0006", "inside")
    ]
    assert {sample.view for sample in marked} == {"inside"}
    assert len(marked) == 3
    assert all(np.array_equal(sample.defects[0].mask, spot) for sample in marked)


def test_a_photograph_taken_again_is_replaced_until_it_is_annotated(
    real: Real, make_session: Callable[..., Path]
) -> None:
    session = make_session()
    settings = {"url": real.url, "project": "retakes", "token": real.legacy}
    push(session, **settings)
    real.annotate(real.tasks("retakes")["p0005-top"])
    for shot in [s for s in read_shots(session) if s.shot in {"p0004-top", "p0005-top"}]:
        write_png(session / shot.file, np.full((HEIGHT, WIDTH, 3), 9, dtype=np.uint8))
        again = sha256_of(session / shot.file)
        append_to_journal(session, shot.model_copy(update={"sha256": again}))
    report = push(session, **settings)
    assert (report.added, report.replaced, report.unchanged) == (0, 1, 3)
    assert report.notes == ("p0005-top: taken again, but already annotated; left alone",)
    assert push(session, **settings).replaced == 0


def test_a_part_waits_until_all_its_views_are_photographed(
    real: Real, make_session: Callable[..., Path]
) -> None:
    session = angle_session(make_session)
    journal = session / "shots.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("".join(f"{line}\n" for line in lines[:-1]))
    report = push(session, url=real.url, project="waiting", token=real.legacy)
    assert report.added == 3
    assert report.notes == ("p0007: waits for its photographs outside",)
    journal.write_text("".join(f"{line}\n" for line in lines))
    assert push(session, url=real.url, project="waiting", token=real.legacy).added == 1


def test_an_edited_photograph_is_not_uploaded(
    real: Real, make_session: Callable[..., Path]
) -> None:
    session = make_session()
    write_png(session / "images" / "p0005-top.png", np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))
    with pytest.raises(LocoToolsError, match=r"p0005-top.png: damaged or edited"):
        push(session, url=real.url, project="edited", token=real.legacy)


def test_a_project_of_another_class_is_left_alone(
    real: Real, make_session: Callable[..., Path]
) -> None:
    push(make_session(), url=real.url, project="shared", token=real.legacy)
    other = angle_session(make_session)
    with pytest.raises(LabelStudioError, match=r"shared.* to show angle, but it shows composite"):
        push(other, url=real.url, project="shared", token=real.legacy)


def test_local_files_are_shown_from_the_servers_own_disk(
    real: Real, make_session: Callable[..., Path], tmp_path: Path
) -> None:
    captures = make_session().parents[1]
    session = real.documents / "captures" / "composite_part" / "session-001"
    session.parent.parent.parent.mkdir(exist_ok=True)
    captures.rename(real.documents / "captures")
    for _ in range(2):
        push(
            session,
            url=real.url,
            project="local",
            token=real.legacy,
            local_files=real.documents,
        )
    server = Server(real.url, real.legacy)
    headers = {"Authorization": f"Token {real.legacy.get_secret_value()}"}
    tasks = server.tasks(server.project("local"))
    assert len(tasks) == 4
    for task in tasks:
        assert task.data["image"].startswith("/data/local-files/?d=captures/composite_part/")
        shown = httpx.get(real.url + task.data["image"], headers=headers)
        assert shown.content == (session / "images" / f"{task.data['loco_shot']}.png").read_bytes()
    with pytest.raises(LocoToolsError, match="with the session in it"):
        push(session, url=real.url, project="local", token=real.legacy, local_files=tmp_path / "x")


def test_the_maps_of_a_benchmark_run_become_pre_annotations(
    real: Real, make_session: Callable[..., Path], tmp_path: Path
) -> None:
    session = make_session()
    spot = box(10, 20, 25, 40)
    lines = []
    for shot, image in (
        ("p0003-top", "test/good/000.png"),
        ("p0004-top", "test/structural_anomalies/000.png"),
    ):
        anomaly = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
        anomaly[spot] = 0.0 if "good" in image else 5.0
        maps = tmp_path / "run" / "maps" / "patchcore" / "0" / "composite_part"
        write_map((maps / image).with_suffix(".tiff"), anomaly)
        lines.append(json.dumps({"image": image, "shot": shot, "session": "session-001"}))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "composite_part.jsonl").write_text("\n".join(lines) + "\n")
    proposals = proposals_of(tmp_path / "run", read_session(session), data=tmp_path / "data")
    settings = {"url": real.url, "project": "proposed", "token": real.legacy}
    reports = [push(session, **settings, predictions=proposals) for _ in range(2)]
    assert [report.predictions for report in reports] == [1, 1]
    export = pull(**settings, out=tmp_path / "proposed.json")
    predictions = [item for task in json.loads(export.read_text()) for item in task["predictions"]]
    assert len(predictions) == 1
    assert predictions[0]["model_version"] == "patchcore, seed 0, quantile 0.995"
    assert predictions[0]["score"] == 1.0
    region = next(item for item in predictions[0]["result"] if item["type"] == "brush")
    label = next(item for item in predictions[0]["result"] if item["type"] == "labels")
    assert region["value"]["rle"] == brush_region(spot)["value"]["rle"]
    assert label["value"]["labels"] == ["scratch"]


def test_an_unknown_project_is_answered_with_the_nearest(
    real: Real, make_session: Callable[..., Path], tmp_path: Path
) -> None:
    push(make_session(), url=real.url, project="brackets", token=real.legacy)
    with pytest.raises(LabelStudioError, match='did you mean "brackets"'):
        pull(url=real.url, project="bracket", token=real.legacy, out=tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


def test_a_download_that_breaks_off_is_tried_again(
    real: Real, make_session: Callable[..., Path], tmp_path: Path
) -> None:
    push(make_session(), url=real.url, project="flaky", token=real.legacy)
    failures = iter([b"", b'[{"id": 1, "da'])

    class Flaky(http.server.BaseHTTPRequestHandler):
        """Passes everything on to the server, but spoils the first two downloads."""

        def handle_all(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            spoilt = next(failures, None) if "/download" in self.path else None
            if spoilt is not None:
                self.answer(200 if spoilt else 503, spoilt)
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            done = httpx.request(
                self.command, real.url + self.path, content=body, headers=headers, timeout=60
            )
            self.answer(done.status_code, done.content)

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = handle_all  # noqa: N815 - names of http.server

        def log_message(self, *arguments: object) -> None:
            pass

    with listening(Flaky) as url:
        out = pull(url=url, project="flaky", token=real.legacy, out=tmp_path / "flaky.json")
    assert len(json.loads(out.read_text())) == 4
    project = Server(real.url, real.legacy).project("flaky")
    assert not list(real.api.projects.exports.list(project.id))


def test_a_refused_token_is_no_part_of_any_message(
    real: Real, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for token in (LEGACY, JWT):
        with pytest.raises(LabelStudioError, match=r"refuses the token \(401") as caught:
            pull(url=real.url, project="x", token=SecretStr(token), out=tmp_path / "x.json")
        assert token not in f"{caught.value!r} {caught.value} {caplog.text}"
        assert caught.value.__suppress_context__
