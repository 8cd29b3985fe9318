"""The routes of the station: the page, its state, the pictures, and the operator's commands.

The routes take no decisions: commands go to the camera worker, and what it publishes is returned.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from loco_tools.capture.station.access import Access, Guarded
from loco_tools.capture.station.camera_worker import (
    Action,
    CameraWorker,
    Command,
    FailedGatesError,
    StaleError,
)
from loco_tools.capture.station.live_view import to_jpeg
from loco_tools.capture.station.state import fault_of, passing_fault
from loco_tools.datasets.images import read_image
from loco_tools.errors import CaptureError, LocoToolsError
from loco_tools.schema import loads_json, parse
from loco_tools.templates import load_templates

MOST_VIEWERS = 8
THUMBNAIL_PX = 200
REPEAT_S = 0.5
"""A still frame is sent again after this time: browsers may show a part only with the next."""

_KEPT_THUMBNAILS = 512
_BOUNDARY = b"frame"
_RELOAD = "next step: reload the page"
_NO_ADDRESS = "the station has no such address"
_PACKAGE = "loco_tools.capture.station"


def make_app(worker: CameraWorker, access: Access, say: Callable[[str], None]) -> Guarded:
    """The station as an ASGI application; the worker has to run while it answers.

    Args:
        worker: uses the guide.
        access: which requests are allowed.
        say: receives one line for every failure, for the terminal.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(packages=[(_PACKAGE, "static")]))
    page = load_templates(_PACKAGE).get_template("station.html")

    @app.get("/")
    def station() -> HTMLResponse:
        return HTMLResponse(page.render(record=worker.guide.record, folder=worker.guide.folder))

    @app.get("/state")
    def state() -> Response:
        return _json(worker.state.model_dump_json())

    @app.post("/commands/{action}")
    async def execute(action: Action, request: Request) -> Response:
        try:
            content = loads_json(await request.body())
        except ValueError as error:
            raise CaptureError(f"a command: expected JSON, got {error}; {_RELOAD}") from error
        command = parse(Command, content, origin="a command")
        state = await run_in_threadpool(worker.execute, action, command)
        return _json(state.model_dump_json())

    @app.exception_handler(LocoToolsError)
    async def explain(_request: Any, error: LocoToolsError) -> Response:
        """What the page shows when a command was not executed."""
        stale, failed = isinstance(error, StaleError), isinstance(error, FailedGatesError)
        kind = "stale" if stale else "failed_gates" if failed else "fault"
        content = {"kind": kind, **fault_of(error).model_dump()}
        return JSONResponse(content, 409 if stale else 422)

    @app.exception_handler(RequestValidationError)
    async def explain_address(_request: Any, _error: RequestValidationError) -> Response:
        return JSONResponse(
            {"kind": "fault", "words": _NO_ADDRESS, "next_step": "reload the page"}, 422
        )

    @app.exception_handler(OSError)
    async def explain_passing_fault(_request: Any, error: OSError) -> Response:
        """A fault of the operating system, e.g. too many open files, after which it goes on."""
        fault = fault_of(passing_fault(error))
        say(f"The station goes on after a fault: {fault.words}")
        return JSONResponse({"kind": "fault", **fault.model_dump()}, 503)

    _add_live_view(app, worker)
    _add_pictures(app, worker)
    return Guarded(app, access, say)


class _LiveView(StreamingResponse):
    """The frames for one viewer, who counts as one of `viewers` from the start to the end."""

    def __init__(self, worker: CameraWorker, viewers: set["_LiveView"]) -> None:
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"
        super().__init__(_stream_frames(worker), media_type=kind)
        self._viewers = viewers
        viewers.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._viewers.discard(self)


def _add_live_view(app: FastAPI, worker: CameraWorker) -> None:
    viewers: set[_LiveView] = set()

    @app.get("/live.json")
    async def measurements() -> Response:
        worker.watch()
        now = worker.measurements
        content = {"version": worker.state.version, "measurements": now and now.model_dump()}
        return JSONResponse(content)

    @app.get("/live.mjpeg")
    async def live() -> StreamingResponse:
        if len(viewers) >= MOST_VIEWERS:
            raise HTTPException(503, "Too many live views are open; close one.")
        return _LiveView(worker, viewers)


async def _stream_frames(worker: CameraWorker) -> AsyncIterator[bytes]:
    """Each new frame, until the viewer leaves or the worker ends; a slow viewer misses some."""
    yield b"--" + _BOUNDARY + b"\r\n"
    sent, sent_at = 0, 0.0
    while not worker.stopping.is_set():
        worker.watch()
        frame = worker.frame
        is_due = time.monotonic() - sent_at > REPEAT_S
        if frame is not None and (frame.number != sent or is_due):
            sent, sent_at = frame.number, time.monotonic()
            length = b"Content-Length: %d\r\n\r\n" % len(frame.jpeg)
            head = b"Content-Type: image/jpeg\r\n" + length
            yield head + frame.jpeg + b"\r\n--" + _BOUNDARY + b"\r\n"
        await asyncio.sleep(worker.period_s / 3)


def _add_pictures(app: FastAPI, worker: CameraWorker) -> None:
    @lru_cache(maxsize=_KEPT_THUMBNAILS)
    def make_thumbnail(path: Path, changed_ns: int) -> bytes:
        del changed_ns
        return to_jpeg(read_image(path), widest_px=THUMBNAIL_PX)

    def find_picture(shot: str) -> Path:
        path = worker.picture(shot)
        if path is None or not path.is_file():
            raise HTTPException(404, "There is no photograph of this shot.")
        return path

    @app.get("/photograph/{number}")
    def photograph(number: int) -> Response:
        now = worker.photograph
        if now is None or now[0] != number:
            raise HTTPException(404, "This photograph was accepted or discarded.")
        return _jpeg(now[1])

    @app.get("/shots/{shot}/thumbnail")
    def thumbnail(shot: str) -> Response:
        path = find_picture(shot)
        return _jpeg(make_thumbnail(path, path.stat().st_mtime_ns))

    @app.get("/shots/{shot}/picture")
    def picture(shot: str) -> Response:
        return _jpeg(to_jpeg(read_image(find_picture(shot))))


def _json(content: str) -> Response:
    return Response(content, media_type="application/json")


def _jpeg(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg")
