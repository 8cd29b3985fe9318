"""The messages when no Label Studio answers; no token is ever part of them."""

import http.server
import importlib.util
import json
import logging
from pathlib import Path

import pytest
from loopback import JWT, LEGACY, free_port, listening
from pydantic import SecretStr

from loco_tools.annotations.server.client import Server, read_token
from loco_tools.annotations.server.pull import pull
from loco_tools.errors import LabelStudioError

needs_sdk = pytest.mark.skipif(
    importlib.util.find_spec("label_studio_sdk") is None, reason="needs the extra labelstudio"
)


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers every request with a fault that repeats what it was sent."""

    def handle_all(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
        content = json.dumps({"detail": f"{self.headers.get('Authorization')} {body}"}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = handle_all  # noqa: N815 - names of http.server

    def log_message(self, *arguments: object) -> None:
        pass


class WebPage(Echo):
    """Some other web server."""

    def handle_all(self) -> None:
        content = b"<html>Welcome</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = handle_all  # noqa: N815 - names of http.server


@needs_sdk
@pytest.mark.parametrize("token", [LEGACY, JWT])
def test_no_message_and_no_log_contains_the_token(
    token: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    messages = []
    with listening(Echo) as echo, listening(WebPage) as page:
        for url in (echo, page, f"http://127.0.0.1:{free_port()}"):
            with pytest.raises(LabelStudioError) as caught:
                pull(url=url, project="x", token=SecretStr(token), out=tmp_path / "x.json")
            messages.append(str(caught.value))
            assert token not in repr(Server(url, SecretStr(token)))
    assert "the server answered 400: " in messages[0]
    assert "***" in messages[0]
    assert "expected the answers of a Label Studio server" in messages[1]
    assert "no Label Studio answers there" in messages[2]
    assert token not in " ".join(messages) + caplog.text
    assert not list(tmp_path.iterdir())


@needs_sdk
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://me:secret@127.0.0.1", "without user name and password"),
        ("127.0.0.1:8080", "expected the address of a Label Studio server"),
        ("ftp://127.0.0.1", "expected the address of a Label Studio server"),
    ],
)
def test_an_invalid_address_is_refused(url: str, message: str) -> None:
    with pytest.raises(LabelStudioError, match=message) as caught:
        Server(url, SecretStr(LEGACY))
    assert "secret@" not in str(caught.value)


def test_the_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    with pytest.raises(LabelStudioError, match=r"LABEL_STUDIO_API_KEY: expected .* got none"):
        read_token()
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY)
    assert read_token().get_secret_value() == LEGACY
    file = tmp_path / "token"
    file.write_text(f"{JWT}\n")
    assert read_token(file).get_secret_value() == JWT
    assert JWT not in repr(read_token(file))
    file.write_text(f"{LEGACY} {LEGACY}")
    with pytest.raises(LabelStudioError, match="spaces") as caught:
        read_token(file)
    assert LEGACY not in str(caught.value)
    with pytest.raises(LabelStudioError, match="cannot be read"):
        read_token(tmp_path / "none")
