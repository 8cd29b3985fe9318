"""Network cameras that go away in the middle of a session, and cameras that are swapped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from camera_rigs import make_plan, write_stamped
from stream_servers import MjpegServer, RtspServer, number_of, rtsp_is_possible, write_film

from loco_tools.capture.cameras import open_camera
from loco_tools.capture.cameras.live_camera import LiveCamera
from loco_tools.capture.cameras.stream import StreamCamera
from loco_tools.capture.session import progress_of, read_session, read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.errors import CaptureError
from loco_tools.plan import PlannedShot
from loco_tools.progress import Advance, Silent

SHOT = PlannedShot("p0000-top", "p0000", "top", "train", "good", None)
Server = MjpegServer | RtspServer
Start = Callable[..., Server]


@pytest.fixture(params=["mjpeg", "rtsp"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts a server, again at the same port when it is given; all are killed in the end."""
    if request.param == "rtsp" and not rtsp_is_possible():
        pytest.skip("needs GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0)")
    frames = write_stamped(tmp_path / "frames") if request.param == "rtsp" else tmp_path
    with ExitStack() as running:

        def begin(port: int = 0) -> Server:
            mjpeg = request.param == "mjpeg"
            server = MjpegServer(port=port) if mjpeg else RtspServer(frames, port=port)
            return running.enter_context(closing(server))

        yield begin


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveCamera, "waits_s", (0.0, 0.1, 0.1))
    monkeypatch.setattr(StreamCamera, "settle_s", 0.1)


class After(Silent):
    """Does something once when so many shots are taken."""

    def __init__(self, shots: int, act: Callable[[], None]) -> None:
        self._left = shots
        self._act = act

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        def advance(steps: int) -> None:
            self._left -= steps
            if steps and self._left == 0:
                self._act()

        yield advance


def test_a_stream_that_comes_back_is_the_same_camera(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveCamera, "waits_s", (0.2,) * 20)
    server = start()
    with open_camera(server.url, make_plan(), seed=0) as camera:
        identity, settings = camera.identity, camera.settings()
        camera.frame(SHOT)
        server.close()
        again = threading.Timer(0.5, start, [server.port])
        again.start()
        image = camera.frame(SHOT).image
        again.join()
        assert image.shape == (96, 128, 3)
        assert number_of(image) > 0
        assert (camera.identity, camera.settings()) == (identity, settings)


def test_a_stream_that_stays_away_stops_the_session_which_continues_later(
    start: Start, tmp_path: Path
) -> None:
    server, plan = start(), make_plan(parts=4)
    captures = tmp_path / "captures"
    with pytest.raises(CaptureError, match=r"did not come back within 3 tries \(.*continues where"):
        capture(
            SessionRequest(plan, camera=server.url, captures=captures),
            progress=After(2, server.close),
        )
    (folder,) = (captures / plan.name).iterdir()
    assert progress_of(folder).done == 2
    before = read_shots(folder)

    start(server.port)
    assert capture(SessionRequest(plan, camera=server.url, captures=captures)) == folder
    assert progress_of(folder).finished
    assert read_shots(folder)[:2] == before


def test_a_stream_that_was_given_up_is_reopened_when_it_is_back(start: Start) -> None:
    server = start()
    with open_camera(server.url, make_plan(), seed=0) as camera:
        server.close()
        for _ in range(2):
            with pytest.raises(CaptureError, match="did not come back within 3 tries") as caught:
                camera.frame(SHOT)
            assert str(caught.value).count("next step: ") == 1
        start(server.port)
        assert camera.frame(SHOT).image.shape == (96, 128, 3)


def test_a_stream_that_comes_back_with_another_size_is_refused() -> None:
    with (
        closing(MjpegServer()) as server,
        open_camera(server.url, None, seed=0) as camera,
    ):
        camera.frame(SHOT)
        server.close()
        with (
            closing(MjpegServer(port=server.port, size=(64, 140))),
            pytest.raises(CaptureError, match=r"came back with other settings: .*128, got 140"),
        ):
            camera.frame(SHOT)


def test_a_stream_whose_size_changes_on_the_way_is_refused(tmp_path: Path) -> None:
    with closing(MjpegServer()) as server:
        smaller = After(2, lambda: setattr(server, "size", (64, 64)))
        with pytest.raises(CaptureError, match=r"width_px: expected 128, got 64") as caught:
            capture(
                SessionRequest(make_plan(), camera=server.url, captures=tmp_path), progress=smaller
            )
        assert str(caught.value).count("next step: ") == 1
    assert progress_of(tmp_path / "flat_connector" / "session-001").done == 2


def test_a_frame_whose_size_changed_is_not_read() -> None:
    with closing(MjpegServer()) as server, open_camera(server.url, None, seed=0) as camera:
        camera.waits_s = ()  # type: ignore[attr-defined]
        camera.frame(SHOT)
        server.size = (4000, 6000)
        with pytest.raises(CaptureError, match=r"expected frames of 128 x 96 .* 6000 x 4000"):
            camera.frame(SHOT)


def test_a_jpeg_that_breaks_off_is_a_damaged_frame() -> None:
    with closing(MjpegServer()) as server, open_camera(server.url, None, seed=0) as camera:
        camera.waits_s = ()  # type: ignore[attr-defined]
        server.cut_off = 200
        with pytest.raises(CaptureError, match="a frame arrived damaged"):
            camera.frame(SHOT)


def test_a_session_does_not_go_on_with_another_stream_or_film(tmp_path: Path) -> None:
    plan = make_plan(parts=2)
    films = [write_film(tmp_path / name, 2, first=n) for n, name in enumerate(("a.avi", "b.avi"))]
    with closing(MjpegServer()) as one, closing(MjpegServer()) as other:
        for first, second in (
            (one.url, other.url),
            *[(f"opencv:{a}", f"opencv:{b}") for a, b in (films, films[::-1])],
        ):
            captures = tmp_path / "captures" / first.rpartition("/")[2]
            capture(SessionRequest(plan, camera=first, captures=captures, session="one"))
            with pytest.raises(CaptureError, match=r"was begun with camera .*got .*next step"):
                capture(SessionRequest(plan, camera=second, captures=captures, session="one"))


def test_a_film_that_was_swapped_under_its_name_is_refused(tmp_path: Path) -> None:
    plan, film = make_plan(parts=2), write_film(tmp_path / "film.avi", 2)
    folder = capture(SessionRequest(plan, camera=f"opencv:{film}", captures=tmp_path / "captures"))
    identity = read_session(folder).camera.identity
    assert identity.startswith(f"opencv:{film}#")

    write_film(film, 2, first=7)
    for camera in (f"opencv:{film}", identity):
        with pytest.raises(CaptureError, match=r"was begun with camera|expected the content"):
            capture(
                SessionRequest(
                    plan, camera=camera, captures=tmp_path / "captures", session=folder.name
                )
            )


def test_a_password_opens_the_camera_and_is_written_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(parts=1)
    with closing(MjpegServer(login="admin:pa55word")) as server:
        with pytest.raises(CaptureError, match="no video stream can be opened") as caught:
            capture(
                SessionRequest(
                    plan, camera=server.url.replace("//", "//admin:wr0ng@"), captures=tmp_path
                )
            )
        url = server.url.replace("//", "//admin:pa55word@")
        folder = capture(SessionRequest(plan, camera=url, captures=tmp_path))
    assert read_session(folder).camera.identity == server.url
    printed = "".join(capfd.readouterr()) + str(caught.value)
    texts = [file.read_text() for file in tmp_path.rglob("*.json*")]
    assert texts
    assert not [text for text in [printed, *texts] if "pa55word" in text or "wr0ng" in text]
