"""The routes of the station: the page, the state, the pictures, and what an operator can ask for.

Nothing here decides anything: wishes go to the desk, and what it publishes comes back.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined

from loco_tools.capture.station.access import Access, Guarded
from loco_tools.capture.station.camera_worker import (
    Action,
    Desk,
    FailedGatesError,
    StaleError,
    Wish,
)
from loco_tools.capture.station.live_view import to_jpeg
from loco_tools.capture.station.state import fault_of
from loco_tools.datasets.images import read_image
from loco_tools.errors import LocoToolsError

MOST_VIEWERS = 8
THUMBNAIL_PX = 200
REPEAT_S = 0.5
"""A still frame is sent again after that long: browsers may show a part only at the next."""

_KEPT_THUMBNAILS = 512
_BOUNDARY = b"frame"
_PACKAGE = "loco_tools.capture.station"


def make_app(desk: Desk, access: Access) -> Guarded:
    """The station as an ASGI application; the desk has to be running while it answers."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(packages=[(_PACKAGE, "static")]))
    app.add_exception_handler(LocoToolsError, _explain)
    _add_page(app, desk)
    _add_live(app, desk)
    _add_pictures(app, desk)
    _add_wishes(app, desk)
    return Guarded(app, access)


def _add_page(app: FastAPI, desk: Desk) -> None:
    pages = Environment(loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined)
    page = pages.get_template("station.html")

    @app.get("/")
    def station() -> HTMLResponse:
        return HTMLResponse(page.render(record=desk.guide.record, folder=desk.guide.folder))

    @app.get("/state")
    def state() -> Response:
        return _json(desk.state.model_dump_json())

    @app.get("/look")
    async def look() -> Response:
        desk.watch()
        now = desk.look
        return JSONResponse(
            {"version": desk.state.version, "look": now and now.model_dump(mode="json")}
        )


def _add_live(app: FastAPI, desk: Desk) -> None:
    viewers: set[object] = set()

    @app.get("/live.mjpeg")
    async def live() -> StreamingResponse:
        if len(viewers) >= MOST_VIEWERS:
            raise HTTPException(503, "Too many live views are open; close one.")
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"
        return StreamingResponse(_stream(desk, viewers), media_type=kind)


async def _stream(desk: Desk, viewers: set[object]) -> AsyncIterator[bytes]:
    """Each new frame, until the viewer goes or the desk ends; a slow viewer misses some."""
    viewer = object()
    viewers.add(viewer)
    try:
        yield b"--" + _BOUNDARY + b"\r\n"
        sent, sent_at = 0, 0.0
        while not desk.stopping.is_set():
            desk.watch()
            frame = desk.frame
            old = time.monotonic() - sent_at > REPEAT_S
            if frame is not None and (frame.number != sent or old):
                sent, sent_at = frame.number, time.monotonic()
                yield _headed(frame.jpeg) + b"\r\n--" + _BOUNDARY + b"\r\n"
            await asyncio.sleep(desk.period_s / 3)
    finally:
        viewers.discard(viewer)


def _headed(jpeg: bytes) -> bytes:
    return b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg


def _add_pictures(app: FastAPI, desk: Desk) -> None:
    @lru_cache(maxsize=_KEPT_THUMBNAILS)
    def thumbnail_of(path: Path, changed_ns: int) -> bytes:
        del changed_ns
        return to_jpeg(read_image(path), widest_px=THUMBNAIL_PX)

    @app.get("/photograph/{number}")
    def photograph(number: int) -> Response:
        now = desk.photograph
        if now is None or now[0] != number:
            raise HTTPException(404, "This photograph was accepted or thrown away.")
        return _jpeg(now[1])

    @app.get("/shots/{shot}/thumbnail")
    def thumbnail(shot: str) -> Response:
        path = _picture(desk, shot)
        return _jpeg(thumbnail_of(path, path.stat().st_mtime_ns))

    @app.get("/shots/{shot}/picture")
    def picture(shot: str) -> Response:
        return _jpeg(to_jpeg(read_image(_picture(desk, shot))))


def _picture(desk: Desk, shot: str) -> Path:
    path = desk.picture(shot)
    if path is None or not path.is_file():
        raise HTTPException(404, "There is no photograph of this shot.")
    return path


def _add_wishes(app: FastAPI, desk: Desk) -> None:
    @app.post("/wishes/{action}")
    def wish(action: Action, wish: Wish) -> Response:
        return _json(desk.ask(action, wish).model_dump_json())


async def _explain(_request: Any, error: Exception) -> Response:
    """What the page shows when a wish was not done."""
    fault = fault_of(error if isinstance(error, LocoToolsError) else LocoToolsError(str(error)))
    stale = isinstance(error, StaleError)
    kind = "stale" if stale else "failed_gates" if isinstance(error, FailedGatesError) else "fault"
    return JSONResponse({"kind": kind, **fault.model_dump()}, 409 if stale else 422)


def _json(content: str) -> Response:
    return Response(content, media_type="application/json")


def _jpeg(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg")
