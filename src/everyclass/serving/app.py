"""The server's paths: a page, /predict, /health, /metrics, /openapi.json.

Needs the extra `serve`. Comes in: HTTP requests. Goes out: answers, and refusals in one sentence,
never a path of this machine or a traceback. Stores nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everyclass.serving.access import Access
from everyclass.serving.answers import Served
from everyclass.serving.engine import Engine
from everyclass.serving.limits import STATUS, Limits, Outcome, Refusal
from everyclass.serving.meters import Meters
from everyclass.serving.page import Page
from everyclass.serving.schema import Answer, Health, Refused, body

_log = logging.getLogger(__name__)
_BYTES = ("image/", "application/octet-stream", "application/x-www-form-urlencoded")
"""Media types of a file itself; the last is what curl says where nobody told it."""

_REFUSED = (403, *(status for status in STATUS.values() if status not in (200, 499)))
"""Statuses with a reason. 403: another host or another site's page."""


def make_app(served: Served, limits: Limits, access: Access, meters: Meters, page: Page) -> FastAPI:
    """The application; its threads live from its start to its end."""
    engine: Engine

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        nonlocal engine
        engine = Engine(served, limits, on_batch=meters.batch)
        try:
            yield
        finally:
            await asyncio.to_thread(engine.close)

    app = FastAPI(
        title="everyclass",
        version=version("everyclass"),
        description="Classifies one image a request. " + _words_of(served),
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    app.add_middleware(Guard, access=access, meters=meters)

    @app.get("/", response_class=Response, responses={200: {"content": {"text/html": {}}}})
    async def page_of_the_model() -> Response:
        """A page on which an image can be dropped."""
        return Response(page.html, media_type="text/html", headers=page.headers)

    @app.get("/health", response_model=Health)
    async def health(request: Request) -> Response:
        """Whether the server answers, how requests ended, and whether classes drift."""
        found: dict[str, Any] = {"status": "ok"}
        if access.refused(request.headers) is None:
            found.update(meters.to_dict())
        return _json(found)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counts in the text format of Prometheus."""
        return Response(meters.text(), media_type="text/plain; version=1.0.0; charset=utf-8")

    @app.post(
        "/predict",
        response_model=Answer,
        responses={status: {"model": Refused} for status in _REFUSED},
        openapi_extra=body(limits),
    )
    async def predict(request: Request) -> Response:
        """Probabilities, decisions and prediction set of one image."""
        began = time.perf_counter()
        meters.begun()
        outcome: Outcome = "failed"
        try:
            answer = await _answered(request, engine, limits)
            meters.given(answer)
            response = _json(answer)
            outcome = "answered"
            return response
        except Refusal as refusal:
            outcome = refusal.outcome
            return _refused(refusal)
        except ClientDisconnect:
            outcome = "cut-off"
            return Response(status_code=STATUS["cut-off"])
        except Exception:  # noqa: BLE001  (told in the log, and to the client without its words)
            _log.exception("A request failed.")
            return _refused(Refusal("failed", "The server could not answer; its log says why."))
        finally:
            meters.ended(outcome, time.perf_counter() - began)

    @app.exception_handler(HTTPException)
    async def other_path(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _json({"error": f"{error.detail}."}, error.status_code, dict(error.headers or {}))

    return app


async def _answered(request: Request, engine: Engine, limits: Limits) -> dict[str, Any]:
    media = request.headers.get("content-type", "application/octet-stream").strip().lower()
    if not media.startswith(_BYTES):
        raise Refusal(
            "unsupported",
            "Send the bytes of the image file as the body, not a form or JSON: "
            "curl --data-binary @photo.jpg, with Content-Type: application/octet-stream.",
        )
    end = asyncio.get_running_loop().time() + limits.max_seconds
    slot = engine.admit()
    try:
        try:
            async with asyncio.timeout_at(end):
                content = await _read(request, limits.max_bytes)
        except TimeoutError:
            raise Refusal(
                "slow-upload", f"The image did not arrive within {limits.max_seconds:g} seconds."
            ) from None
    except BaseException:
        slot.release()
        raise
    answer = engine.submit(content, slot)
    try:
        async with asyncio.timeout_at(end):
            return await asyncio.wrap_future(answer)
    except TimeoutError:
        raise Refusal(
            "time-out", f"There was no answer within {limits.max_seconds:g} seconds."
        ) from None


async def _read(request: Request, max_bytes: int) -> bytes:
    """The body, given up as soon as it is too large."""
    stated = request.headers.get("content-length", "")
    content = bytearray()
    if not (stated.isdigit() and int(stated) > max_bytes):
        async for part in request.stream():
            content += part
            if len(content) > max_bytes:
                break
        else:
            return bytes(content)
    raise Refusal("too-large", f"The file is larger than {max_bytes:,} bytes.")


def _refused(refusal: Refusal) -> Response:
    headers = {}
    if refusal.outcome == "busy":
        headers["Retry-After"] = "1"
    if refusal.outcome in ("too-large", "slow-upload", "unsupported", "busy"):
        headers["Connection"] = "close"  # what is left of the body is not waited for
    return _json(
        {"error": refusal.words, "outcome": refusal.outcome}, STATUS[refusal.outcome], headers
    )


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Response(text, status, headers, media_type="application/json")


def _words_of(served: Served) -> str:
    return f"{len(served.classes):,} classes; probabilities are calibrated."


class Guard:
    """Lets in who may ask, and keeps answers out of caches.

    Args:
        app: what is behind it.
        access: who may ask.
        meters: told of predictions that were refused.
    """

    def __init__(self, app: ASGIApp, access: Access, meters: Meters) -> None:
        self._app = app
        self._access = access
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cache-Control"] = "no-store"
            await send(message)

        headers = Headers(scope=scope)
        if headers.get("sec-fetch-site") == "cross-site":
            refusal = _json({"error": "Pages of other sites may not ask."}, 403)
        elif why := self._access.refused(headers):
            if scope["path"] == "/health" and self._access.token is not None:
                await self._app(scope, receive, send_guarded)
                return
            refusal = self._refusal(why)
        else:
            await self._app(scope, receive, send_guarded)
            return
        if scope["path"] == "/predict":
            self._meters.turned_away()
        refusal.headers["Connection"] = "close"
        await refusal(scope, receive, send_guarded)

    def _refusal(self, why: str) -> Response:
        told = {"error": why, "outcome": "unauthorised"}
        if self._access.token is None:
            return _json(told, 403)
        realm = 'Basic realm="everyclass", charset="UTF-8"'  # a browser asks for it by itself
        return _json(told, STATUS["unauthorised"], {"WWW-Authenticate": realm})
