"""The application: POST /predict, GET /healthz, and a page at /. Errors are JSON too: {"error": "…"}."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from engine.errors import UserError, shortened, unknown
from engine.files import json_text
from engine.inference.rows import Form, record
from engine.serving.limits import Limits
from engine.serving.pool import CANNOT, OTHER_KIND, TOO_LARGE, Pool, Refusal

WRONG, MISSING, TOO_SLOW, BUSY = 400, 404, 408, 503
DRAINED = 4  # of a body that is too large, so many times what is allowed is read, so that its sender hears the answer
JSON_KIND, FORM_KIND = "application/json", "multipart/form-data"
SWITCH: Mapping[str, bool] = {"1": True, "true": True, "0": False, "false": False}


class Service:
    """What the routes do. `page`: the text of the page at /, or why there is none."""

    def __init__(self, pool: Pool, page: str | UserError, limits: Limits):
        self.pool, self.page, self.limits = pool, page, limits
        self.names = pool.members[0].class_names
        self.under_way = 0

    async def predict(self, request: Request) -> Response:
        """One image as the body, or a JSON list of images in base64: an object for one, a list of them for a list."""
        if self.under_way >= self.limits.requests:
            raise Refusal(BUSY, f"{self.under_way} requests are under way, and no more are taken; try again")
        self.under_way += 1
        try:
            form = read_form(request.query_params, self.names)
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == FORM_KIND:
                raise Refusal(OTHER_KIND, f"{FORM_KIND} is not read: send an image's bytes, or a JSON list in base64")
            body = await self._body(request)
            images = listed_images(body, self.limits.images) if kind == JSON_KIND else [body]
            answers = await asyncio.wrap_future(self.pool.submit(images, form.top or 1))
        finally:
            self.under_way -= 1
        rows = [{key: value for key, value in record(each, form).items() if key != "file"} for each in answers]
        return answer(rows if kind == JSON_KIND else rows[0])

    async def health(self, request: Request) -> Response:
        """That requests are answered, and by what."""
        return answer(
            {
                "status": "ok",
                "networks": [Path(each.source).name for each in self.pool.members],
                "classes": self.names,
                "under_way": self.under_way,
            }
        )

    async def show(self, request: Request) -> Response:
        """The page to try the network."""
        if isinstance(self.page, UserError):
            raise Refusal(MISSING, f"there is no page here ({self.page}); POST an image to /predict")
        return HTMLResponse(self.page)

    async def _body(self, request: Request) -> bytes:
        try:
            return await asyncio.wait_for(read_body(request, self.limits.body), self.limits.seconds)
        except asyncio.TimeoutError:
            raise Refusal(TOO_SLOW, f"the body did not arrive within {self.limits.seconds:g} seconds") from None
        except ClientDisconnect:
            raise Refusal(WRONG, "the connection ended before the body did") from None


def application(pool: Pool, page: str | UserError, limits: Limits) -> Starlette:
    """The ASGI application that answers with the networks of `pool`."""
    service = Service(pool, page, limits)
    return Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/healthz", service.health, methods=["GET"]),
            Route("/", service.show, methods=["GET"]),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _http_error},
    )


async def read_body(request: Request, most: int) -> bytes:
    """The body, of `most` bytes at most; Refusal for more."""
    stated = request.headers.get("content-length", "")
    refusal = Refusal(TOO_LARGE, f"the body has more than the {most} bytes allowed")
    if stated.isdecimal() and int(stated[:20]) > DRAINED * most:
        raise refusal
    parts, total = [], 0
    async for part in request.stream():
        total += len(part)
        if total <= most:
            parts.append(part)
        elif total > DRAINED * most:
            break
    if total > most:
        raise refusal
    return b"".join(parts)


def read_form(query: Mapping[str, str], names: list[str]) -> Form:
    """What the answers hold beside label and probability, by `?top=K` and `?probabilities=1`."""
    for key in query:
        if key not in ("top", "probabilities"):
            raise Refusal(WRONG, str(unknown("parameter", key, ("top", "probabilities"))))
    top, wanted = query.get("top"), query.get("probabilities", "0")
    if top is not None and not (top.isdecimal() and len(top) < 10 and 1 <= int(top) <= len(names)):
        raise Refusal(WRONG, f"top must be from 1 to {len(names)}, the network's classes, not {shortened(top)!r}")
    if wanted not in SWITCH:
        raise Refusal(WRONG, f"probabilities must be 1 or 0, not {shortened(wanted)!r}")
    return Form(names, None if top is None else int(top), SWITCH[wanted], json=True)


def listed_images(body: bytes, most: int) -> list[bytes]:
    """The images of a JSON list in base64; Refusal for anything else."""
    try:
        texts = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(
            WRONG, "the body is not the JSON that its Content-Type says: a list of images in base64"
        ) from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refusal(WRONG, "expected a JSON list of texts, each an image in base64")
    if not 1 <= len(texts) <= most:
        raise Refusal(CANNOT, f"expected 1 to {most} images in a list, got {len(texts)}")
    images = []
    for number, text in enumerate(texts, 1):
        try:
            images.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise Refusal(WRONG, f"image {number}: is no base64") from None
    return images


def answer(value: Any, status: int = 200) -> Response:
    return Response(json_text(value) + "\n", status, media_type=JSON_KIND)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    response = answer({"error": str(error)}, error.status)
    if error.status == BUSY:
        response.headers["Retry-After"] = "1"
    return response


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = "POST /predict, GET /healthz and GET / are here"
    what = f"{request.method} {shortened(request.url.path)}: {error.detail}; {known}"
    response = answer({"error": what}, error.status_code)
    response.headers.update(error.headers or {})
    return response
