"""A station that anybody in a network can reach: what he sends, opens and leaves unfinished."""

import errno
import ipaddress
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from station_builders import (
    PATIENCE_S,
    Notes,
    Page,
    Rig,
    address_of,
    rig,
    station_process,
    until,
)

pytest.importorskip("fastapi", reason="needs the extra 'station'")

import uvicorn

from loco_tools.capture.station import access, camera_worker, connections
from loco_tools.capture.station import app as station_app
from loco_tools.errors import CaptureError

OURS = "a-token-of-our-own"
EVERYWHERE = str(ipaddress.IPv4Address(0))
SHOT_S = 10
SHOOT = '{"turn": 0, "shot": "p0000-top"}'
JSON = "Content-Type: application/json\r\nContent-Length: "


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def station(tmp_path: Path, notes: Notes) -> Iterator[Rig]:
    with rig(tmp_path / "session", progress=notes) as made:
        yield made


def send(port: int, raw: bytes | str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    client.sendall(raw.encode("latin-1") if isinstance(raw, str) else raw)
    return client


def status_of(port: int, raw: bytes | str) -> int:
    with send(port, raw) as client:
        return int(client.recv(1000).split(b" ")[1])


def is_closed(client: socket.socket) -> bool:
    """Whether the station has hung up; what it said before is read away."""
    client.setblocking(False)
    try:
        return client.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("POST /commands/shoot HTTP/1.1\r\nOrigin: http://[", SHOOT, 403),
        ("POST /commands/shoot HTTP/1.1\r\nOrigin: http://[zz]", SHOOT, 403),
        ("POST /commands/undo HTTP/1.1", '{"turn":NaN}', 422),
        ("POST /commands/undo HTTP/1.1", '{"turn":Infinity,"shot":null}', 422),
        ("POST /commands/undo HTTP/1.1", '{"turn":1e400,"shot":null}', 422),
        ("POST /commands/undo HTTP/1.1", '{"turn":' + "9" * 4000 + ',"shot":null}', 422),
        ("POST /commands/undo HTTP/1.1", '{"turn":' + "[" * 2000 + "]" * 2000 + "}", 422),
        ("POST /commands/undo HTTP/1.1", '{"turn":0,"turn":1,"shot":null,"__proto__":1}', 422),
        ("POST /commands/undo HTTP/1.1", '{"turn":0,"shot":"\\ud800"}', 409),
        ("POST /commands/undo HTTP/1.1", "\xff\xfe", 422),
        ("POST /wishes/undo HTTP/1.1", '{"turn":NaN}', 404),
        ("GET /photograph/" + "9" * 5000 + " HTTP/1.1", "", 422),
        ("GET /static/%00 HTTP/1.1", "", 404),
        ("GET /shots/%ff%fe/thumbnail HTTP/1.1", "", 404),
        ('TRACE /state HTTP/1.1\r\nCookie: loco_station_8000="\\', "", 405),
    ],
)
def test_a_request_that_nobody_should_send_is_refused_in_words(
    station: Rig, notes: Notes, head: str, body: str, status: int
) -> None:
    sent = f"{head}\r\nHost: 127.0.0.1\r\n{JSON}{len(body)}\r\n\r\n{body}"
    assert status_of(station.station.port, sent) == status
    assert (station.page.see()["fault"], station.camera.frames, notes.lines) == (None, [], [])


@pytest.mark.parametrize("host", ["evil.example@127.0.0.1", "127.0.0.1/", "a@[::1]", "[", "::"])
def test_a_host_that_no_browser_sends_is_refused(station: Rig, host: str) -> None:
    sent = f"GET /state HTTP/1.1\r\nHost: {host}\r\n\r\n"
    assert status_of(station.station.port, sent) == 421


@pytest.mark.parametrize(
    "length", [f"Content-Length: {access.MOST_BODY_BYTES + 1}", "Transfer-Encoding: chunked"]
)
def test_a_body_that_is_long_or_without_an_end_is_refused_before_it_comes(
    station: Rig, length: str
) -> None:
    head = "POST /commands/shoot HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with send(station.station.port, f"{head}{length}\r\n\r\n") as client:
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"The station takes bodies of at most 4096 bytes, and their length.\n")


def test_a_request_that_does_not_arrive_in_time_ends_its_connection(
    station: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.5)
    port = station.station.port
    head = f"POST /commands/shoot HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}30\r\n\r\n"
    with (
        send(port, "") as silent,
        send(port, "GET /state HTT") as half_a_head,
        send(port, head + '{"turn"') as half_a_body,
        send(port, "GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /") as second,
        send(port, "") as dripping,
    ):
        late = [silent, half_a_head, half_a_body, second, dripping]
        closed: set[int] = set()

        def all_are_closed() -> bool:
            if dripping.fileno() not in closed:
                try:
                    dripping.send(b"G")
                except ConnectionError:
                    closed.add(dripping.fileno())
            closed.update(c.fileno() for c in late if c.fileno() not in closed and is_closed(c))
            return len(closed) == len(late)

        until(all_are_closed, "the end of five late connections")
    assert station.page.do("shoot")["phase"] == "review"


def test_a_viewer_that_takes_nothing_gives_up_its_place(
    station: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_S", 0.2)
    monkeypatch.setattr(camera_worker.CameraWorker, "period_s", 0.001)
    monkeypatch.setattr(camera_worker, "to_jpeg", lambda _: bytes(2_000_000))
    monkeypatch.setattr(station_app, "MOST_VIEWERS", 1)
    client, port = station.page.client, station.station.port

    def opens() -> bool:
        with client.stream("GET", "/live.mjpeg") as live:
            return live.status_code == 200

    with send(port, viewer_request({})) as stalled, send(port, viewer_request({})) as refused:
        assert stalled.recv(100).startswith(b"HTTP/1.1 200 ")
        assert refused.recv(100).startswith(b"HTTP/1.1 503 ")
        until(opens, "the place of the viewer that takes nothing")


def test_more_requests_at_a_time_than_are_answered_are_told_to_wait(
    station: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MOST_REQUESTS", 2)
    client = station.page.client
    with client.stream("GET", "/live.mjpeg"), client.stream("GET", "/live.mjpeg"):
        refused = client.get("/state")
        assert refused.status_code == 503
        assert refused.text == "The station is answering too many requests; try again.\n"
    until(lambda: client.get("/state").status_code == 200, "a place")


def test_a_connection_too_many_displaces_the_one_that_was_waited_for_longest(
    station: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_PER_ADDRESS", 4)
    port = station.station.port
    station.page.see()  # its connection has been of use: the others go first
    with ExitStack() as stack:
        opened = []
        for _ in range(5):
            opened.append(stack.enter_context(send(port, "GET /sta")))
            time.sleep(0.05)
        until(lambda: is_closed(opened[0]) and is_closed(opened[1]), "the first two")
        assert [is_closed(client) for client in opened[2:]] == [False] * 3
        for client in opened[2:]:
            client.setblocking(True)
            client.sendall(b"te HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert station.page.see()["fault"] is None


def too_many(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EMFILE, "Too many open files", "shots.jsonl")


def test_a_passing_fault_of_the_system_is_shown_and_the_next_command_goes_on(
    station: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in ((camera_worker, "read_journal"), (station.camera, "frame")):
        with monkeypatch.context() as few:
            few.setattr(owner, name, too_many)
            answer = station.page.send("shoot")
        assert answer.status_code == 422
        assert answer.json()["words"] == "shots.jsonl: Too many open files"
        assert station.page.see()["fault"]["words"] == "shots.jsonl: Too many open files"
        if station.page.state["phase"] == "review":
            station.page.do("discard")
    assert station.page.do("shoot", "accept")["fault"] is None


def test_a_photograph_that_cannot_be_saved_now_waits_and_is_saved_later(
    station: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.page.do("shoot")
    with monkeypatch.context() as few:
        few.setattr(os, "fsync", too_many)
        answer = station.page.send("accept").json()
    assert "cannot be written; it is not taken (Too many open files)" in answer["words"]
    assert answer["next_step"] == "do it again"
    assert station.page.see()["phase"] == "review"
    assert station.page.do("accept")["done"] == 1


def test_a_passing_fault_while_aiming_is_shown_until_there_is_a_picture_again(
    station: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_worker.CameraWorker, "pause_s", 0.02)
    client = station.page.client
    with monkeypatch.context() as few:
        few.setattr(station.camera, "preview", too_many)
        until(lambda: client.get("/live.json") and station.page.see()["fault"], "the fault")
        assert station.page.state["fault"]["words"] == "shots.jsonl: Too many open files"
    until(lambda: client.get("/live.json") and not station.page.see()["fault"], "its end")


def test_a_file_that_cannot_be_opened_now_is_told_to_the_page_and_noted_once(
    station: Rig, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.page.do("shoot", "accept")
    with monkeypatch.context() as few:
        few.setattr(station_app, "read_image", too_many)
        for _ in range(3):
            answer = station.page.client.get("/shots/p0000-top/picture")
            assert (answer.status_code, answer.json()["kind"]) == (503, "fault")
    assert notes.lines == ["The station goes on after a fault: shots.jsonl: Too many open files"]
    assert station.page.client.get("/shots/p0000-top/picture").status_code == 200


def test_a_terminal_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    class Gone(Notes):
        def note(self, message: str) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with rig(tmp_path / "session", progress=Gone()) as station:
        station.page.do("shoot", "accept")
        with pytest.MonkeyPatch.context() as few:
            few.setattr(station_app, "read_image", too_many)
            assert station.page.client.get("/shots/p0000-top/picture").status_code == 503
        assert station.page.do("shoot")["phase"] == "review"


def test_a_server_that_fails_is_one_message_and_no_page_that_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn.Server, "serve", too_many)
    with (
        rig(tmp_path / "session", token=OURS) as station,
        pytest.raises(CaptureError, match=r"server failed .*the session continues where"),
    ):
        station.station.ended.result(timeout=PATIENCE_S)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_an_attack_does_not_stop_the_session(tmp_path: Path) -> None:
    """400 half-open connections that are opened again and again, 60 viewers, one that dies."""
    headers = {"Authorization": f"Bearer {OURS}"}
    with (
        ExitStack() as stack,
        station_process(tmp_path, "--host", EVERYWHERE, token=OURS) as process,
    ):
        port, _ = address_of(process)
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, headers=headers)
        )
        page = Page(client)
        page.see()
        memory_kb = resident_kb(process.pid)
        viewers = [send(port, viewer_request(headers)) for _ in range(60)]
        dying = send(port, viewer_request(headers))
        stop = threading.Event()
        attack = threading.Thread(target=keep_half_open, args=(port, 400, stop))
        attack.start()
        try:
            time.sleep(1)
            dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            dying.close()
            for _ in range(3):
                begun = time.monotonic()
                page.do("shoot")
                page.do("accept", override=True)
                assert time.monotonic() - begun < SHOT_S
                assert open_files(process.pid) < 400
                time.sleep(0.5)
            assert page.see()["done"] == 3
            assert resident_kb(process.pid) - memory_kb < 200_000
        finally:
            stop.set()
            attack.join()
            for viewer in viewers:
                viewer.close()
        until(lambda: open_files(process.pid) < 50, "the end of all connections")
        page.see()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    assert "3 of 38 shots" in out
    assert len(error.splitlines()) < 10, error
    assert "Traceback" not in error


def viewer_request(headers: dict[str, str]) -> str:
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"GET /live.mjpeg HTTP/1.1\r\nHost: 127.0.0.1\r\n{''.join(lines)}\r\n"


def keep_half_open(port: int, count: int, stop: threading.Event) -> None:
    """Hold connections that never finish a head; those that are closed are opened again."""
    held: list[socket.socket] = []
    while not stop.is_set():
        held, before = [], held
        for client in before:
            if is_closed(client):
                client.close()
            else:
                held.append(client)
        while len(held) < count:
            held.append(send(port, "GET /state HTTP/1.1\r\nX: "))
        stop.wait(0.1)
    for client in held:
        client.close()


def open_files(process: int) -> int:
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def resident_kb(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
