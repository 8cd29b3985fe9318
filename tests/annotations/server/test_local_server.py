import http.server
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loco_tools.annotations.server import local_server
from loco_tools.errors import LabelStudioError


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def taken_port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def command_that(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_server_that_ends_is_reported_with_its_log(tmp_path: Path) -> None:
    command = command_that(tmp_path / "label-studio", "echo no such module; exit 3")
    with (
        pytest.raises(LabelStudioError, match=r"Label Studio ended; .* says: no such module"),
        local_server.running(command, tmp_path / "server", port=9),
    ):
        pytest.fail("it does not run")


def test_a_port_where_something_answers_is_refused(tmp_path: Path, taken_port: int) -> None:
    command = command_that(tmp_path / "label-studio", "exit 0")
    with (
        pytest.raises(LabelStudioError, match="give another --port"),
        local_server.running(command, tmp_path / "server", port=taken_port),
    ):
        pytest.fail("it does not run")


def test_secrets_are_for_their_owner_and_in_no_argument(tmp_path: Path) -> None:
    command = command_that(tmp_path / "label-studio", 'echo "got: $*"; exit 1')
    folder = tmp_path / "server"
    for _ in range(2):
        with (
            pytest.raises(LabelStudioError) as caught,
            local_server.running(command, folder, port=9),
        ):
            pytest.fail("it does not run")
    for name in ("token", "password"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        assert (folder / name).read_text().strip() not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_what_cannot_be_installed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_server, "PACKAGE", str(tmp_path / "no-such-wheel.whl"))
    with pytest.raises(LabelStudioError, match=r"cannot be installed; pip says: .*no-such-wheel"):
        local_server.install(tmp_path / "environment")
