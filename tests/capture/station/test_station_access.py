import ipaddress
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from station_builders import (
    PATIENCE_S,
    Page,
    Rig,
    address_of,
    blank_pictures,
    rig,
    station_process,
    until,
)

from loco_tools.capture.guide import open_guide
from loco_tools.capture.session import progress_of
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.station import access
from loco_tools.cli import run
from loco_tools.errors import CaptureError
from loco_tools.plan import load_plan

pytest.importorskip("fastapi", reason="needs the extra 'station'")

EVERYWHERE = str(ipaddress.IPv4Address(0))
OURS = "a-token-of-our-own"
READING = (
    "/",
    "/state",
    "/live.json",
    "/live.mjpeg",
    "/photograph/1",
    "/shots/p0000-top/thumbnail",
    "/shots/p0000-top/picture",
    "/static/station.js",
    "/nowhere",
)
SEEN = {"turn": 0, "shot": "p0000-top"}
WANTS_ONE = "The station requires its token: open the address that it printed when it started.\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Rig]:
    """A station on loopback."""
    with rig(tmp_path / "session") as one:
        yield one


@pytest.fixture
def open_to_all(tmp_path: Path) -> Iterator[Rig]:
    """A station that the network can reach."""
    with rig(tmp_path / "session", host=EVERYWHERE, token=OURS) as one:
        yield one


def test_without_the_token_no_route_of_an_open_station_answers(open_to_all: Rig) -> None:
    client = open_to_all.page.client
    for path in READING:
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (401, WANTS_ONE), path
    for action in ("shoot", "skip", "undo", "accept", "nonsense"):
        assert client.post(f"/commands/{action}", json=SEEN).status_code == 401
    assert open_to_all.camera.frames == []


@pytest.mark.parametrize("wrong", ["", "x", OURS[:-1], OURS + "x", OURS.upper(), "tökén"])
def test_a_wrong_token_is_refused(wrong: str) -> None:
    here = access.Access(EVERYWHERE, 8000, OURS)
    for headers, query in (
        ({"cookie": f"{here.cookie}={wrong}"}, ""),
        ({"authorization": f"Bearer {wrong}"}, ""),
        ({}, f"token={wrong}"),
    ):
        answer = access.verdict(request({"host": "10.0.0.7:8000", **headers}, query), here)
        assert answer is not None
        assert answer.status_code == 401


def request(headers: dict[str, str], query: str) -> access.Request:
    raw = [(name.encode(), value.encode("utf-8")) for name, value in headers.items()]
    return access.Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/",
            "scheme": "http",
            "server": ("10.0.0.7", 8000),
            "headers": raw,
            "query_string": query.encode(),
        }
    )


def test_the_printed_address_puts_the_token_into_a_cookie_and_leads_to_a_clean_one(
    open_to_all: Rig,
) -> None:
    client = open_to_all.page.client
    token = open_to_all.station.url.partition("?token=")[2]
    assert token == OURS
    opening = client.get("/", params={"token": token})
    assert opening.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/"' in opening.text
    assert OURS not in opening.text
    cookie = opening.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie

    page = Page(client)
    page.see()
    assert page.do("shoot")["phase"] == "review"
    assert client.get("/").status_code == 200


def test_a_program_brings_the_token_in_a_header_and_a_command_never_in_its_address(
    open_to_all: Rig,
) -> None:
    client = open_to_all.page.client
    asked = client.get("/state", headers={"Authorization": f"Bearer {OURS}"})
    assert asked.json()["phase"] == "aim"
    assert client.post(f"/commands/shoot?token={OURS}", json=SEEN).status_code == 401


def test_a_token_is_made_up_when_none_is_given_and_each_time_another(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        with rig(tmp_path / name, host=EVERYWHERE) as one:
            assert one.page.client.get("/state").status_code == 401
            made.append(one.station.token)
    assert None not in made
    assert made[0] != made[1]
    assert min(len(token or "") for token in made) >= 32


@pytest.mark.parametrize("token", ["", "short", "with spaces in between", "quoted\"and'longer;yes"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token: str, tmp_path: Path) -> None:
    said = "expected at least 16 letters, digits, - and _; next step: leave it out"
    with pytest.raises(CaptureError, match=said), rig(tmp_path, token=token):
        pass


def test_on_loopback_no_token_is_wanted_but_a_given_one_is(tmp_path: Path, here: Rig) -> None:
    assert here.station.token is None
    assert here.station.url == f"http://127.0.0.1:{here.station.port}/"
    assert here.page.client.get("/state").status_code == 200
    with rig(tmp_path / "guarded", token=OURS) as one:
        assert one.page.client.get("/state").status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "10.0.0.7", "127.0.0.1.evil.example", "[::", ""]
)
def test_on_loopback_another_host_in_the_address_is_refused(here: Rig, host: str) -> None:
    answer = here.page.client.get("/state", headers={"Host": host})
    assert answer.status_code in (400, 421)
    if answer.status_code == 421:
        assert answer.text == "This is not the address of the station.\n"
    for own in ("localhost", "127.0.0.1", f"localhost:{here.station.port}", "[::1]"):
        assert here.page.client.get("/state", headers={"Host": own}).status_code == 200


def test_an_open_station_answers_to_addresses_and_to_its_own_name(open_to_all: Rig) -> None:
    client = open_to_all.page.client
    client.headers["Authorization"] = f"Bearer {OURS}"
    own = socket.gethostname().lower()
    for host, code in (("10.0.0.7", 200), (own, 200), (f"{own}.local", 200), ("evil.example", 421)):
        assert client.get("/state", headers={"Host": host}).status_code == code, host


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_only_the_stations_own_page_presses_buttons(here: Rig, headers: dict[str, str]) -> None:
    content = b'{"turn": 0, "shot": "p0000-top"}'
    sent = {"Content-Type": "application/json", **headers}
    answer = here.page.client.post("/commands/shoot", content=content, headers=sent)
    assert (answer.status_code, answer.text) == (403, "Only the station's own page may do this.\n")
    assert here.camera.frames == []


def test_the_stations_own_page_may(here: Rig) -> None:
    own = {"Origin": here.station.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert here.page.client.post("/commands/shoot", json=SEEN, headers=own).status_code == 200


def test_every_answer_tells_browsers_to_trust_nothing_else(open_to_all: Rig) -> None:
    client = open_to_all.page.client
    refused = [client.get("/state"), client.get("/state", headers={"Host": "evil.example"})]
    client.headers["Authorization"] = f"Bearer {OURS}"
    answers = [client.get(path) for path in ("/", "/state", "/static/station.js", "/nowhere")]
    answers += [
        client.post("/commands/accept", json=SEEN),
        client.post("/commands/accept", content=""),
    ]
    for answer in answers + refused:
        assert answer.headers.items() >= {k.lower(): v for k, v in access.HEADERS.items()}.items()
        assert "server" not in answer.headers
    policy = answers[0].headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_port_that_is_in_use_is_one_message(
    here: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = here.station.port
    said = rf"cannot open port {port} on 127\.0\.0\.1: it is in use; next step: stop the other"
    with pytest.raises(CaptureError, match=said), rig(tmp_path / "other", port=port):
        pass
    pictures = blank_pictures(tmp_path / "pictures")
    command = ["capture", "--class", "flat_connector", "--demo", "--out", str(tmp_path / "out")]
    assert run([*command, "--camera", f"folder:{pictures}", "--station", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert len(re.findall(said, error)) == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("no-such-host.invalid", 0, "unknown address; next step: correct --host"),
        ("192.0.2.1", 0, "this computer has no such address; next step: correct --host"),
        ("127.0.0.1", 70000, "expected a port from 0 to 65535, got 70000"),
    ],
)
def test_an_address_that_cannot_be_opened_is_explained(
    host: str, port: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CaptureError, match=said), rig(tmp_path, host=host, port=port):
        pass


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("10.0.0.7", False),
        ("rig", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_computer_reaches(host: str, loopback: bool) -> None:
    assert access.is_loopback(host) == loopback


@pytest.mark.parametrize(
    ("end", "options", "token"),
    [
        (signal.SIGINT, [], None),
        (signal.SIGTERM, ["--host", EVERYWHERE], OURS),
    ],
)
def test_a_station_that_is_stopped_ends_cleanly_and_its_session_continues(
    end: signal.Signals, options: list[str], token: str | None, tmp_path: Path
) -> None:
    camera = f"folder:{blank_pictures(tmp_path / 'pictures')}"
    with station_process(tmp_path, *options, token=token) as process:
        port, shown = address_of(process)
        assert shown == token
        take_one(port, token, lambda: process.send_signal(end))
        out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    assert "Station ended; run the same command again to continue" in error
    assert "Traceback" not in error
    assert "1 of 38 shots" in out
    (folder,) = (tmp_path / "out" / "flat_connector").iterdir()
    # gone only when the lock and the camera before it were let go, not when the process died
    assert not (folder / ".holder").exists()
    small = load_plan("flat_connector").for_demo()
    with open_guide(SessionRequest(small, camera=camera, captures=tmp_path / "out")) as guide:
        assert guide.folder == folder
        assert guide.progress().done == 1
    assert progress_of(folder).done == 1


def take_one(port: int, token: str | None, then: Callable[[], None]) -> None:
    """Take the first shot; `then` is called while somebody still watches the live picture."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=base, timeout=PATIENCE_S, headers=headers) as client:
        page = Page(client)
        page.see()
        page.do("shoot")
        page.do("accept", override=True)
        with client.stream("GET", "/live.mjpeg") as live:
            until(lambda: live.status_code == 200, "the live picture")
            then()
