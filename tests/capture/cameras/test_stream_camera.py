"""URLs of network cameras; `tests/conformance` has the streams themselves."""

import socket
from collections.abc import Iterator

import pytest

from loco_tools.capture.cameras import open_camera, public_name
from loco_tools.capture.cameras.stream import StreamCamera, without_secrets
from loco_tools.errors import CaptureError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:1234@cam1/live", "rtsp://cam1/live"),
        ("rtsp://admin@cam1:554/live", "rtsp://cam1:554/live"),
        ("RTSP://Admin:pw@Cam1/Live", "rtsp://cam1/Live"),
        ("http://cam1/video?user=me&pwd=1234&channel=2", "http://cam1/video?channel=2"),
        ("http://cam1/video?channel=2&token=1234", "http://cam1/video?channel=2"),
        ("rtsp://cam1/user=me&password=1234&channel=1", "rtsp://cam1/channel=1"),
        ("http://a:p%40ss%2F@[fe80::1]:8080/v.mjpg", "http://[fe80::1]:8080/v.mjpg"),
        ("http://cam1/v.cgi?loginuse=me&loginpas=1234&x=1", "http://cam1/v.cgi?x=1"),
        (
            "rtsp://cam1/user=me_password=12_34_channel=2_stream=0.sdp?real_stream",
            "rtsp://cam1/channel=2_stream=0.sdp?real_stream",
        ),
        ("rtsp://cam1/user=me&password=ab_cd==&channel=1", "rtsp://cam1/channel=1"),
        ("https://cam1/monkey=3/key=secret;size=2", "https://cam1/monkey=3/size=2"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert StreamCamera(url, None).identity == shown
    assert without_secrets(shown) == shown
    assert public_name(url) == public_name(f"opencv:{url}") == shown


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:pa/55word@cam1/live",
        "rtsp://admin:pa?55word@cam1/live",
        "rtsp://admin:pa#55word@cam1/live",
        "rtsp://admin:pa55word@",
        "rtsp://admin:pa55word@cam1:port/live",
        "http://[admin:pa55word@cam1/",
        "folder:rtsp://admin:pa55word@cam1/live",
        "rtps://admin:pa55word@cam1/live",
        "rtsp:/admin:pa55word@cam1/live",
        "admin:pa55word@cam1/live",
    ],
)
def test_a_url_that_is_wrong_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(CaptureError) as caught:
        open_camera(url, None, seed=0)
    assert "55word" not in str(caught.value)
    assert "55word" not in public_name(url)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


@pytest.mark.parametrize("kind", ["rtsp", "http"])
def test_a_host_that_does_not_answer_is_given_up(
    silent_port: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StreamCamera, "timeout_s", 0.3)
    camera = StreamCamera(f"{kind}://me:pa55word@127.0.0.1:{silent_port}/live", None)
    with pytest.raises(CaptureError, match=r"answers, but no video stream can be opened") as caught:
        camera.connect()
    assert "55word" not in str(caught.value)


def test_a_host_that_is_not_there_is_distinguished_from_a_wrong_path() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(CaptureError, match=rf"does not answer at port {port} \(Connection refused"):
        StreamCamera(f"http://127.0.0.1:{port}/live", None).connect()
