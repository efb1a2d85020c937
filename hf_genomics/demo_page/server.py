"""Serve the page with aiohttp: one question at a time, in memory, to browsers that come by the page's own address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from ..errors import InputError
from .answer import DemoModel, Question, answer, targets_of
from .page import write_page
from .reading import MOST_BYTES, too_large

logger = logging.getLogger(__name__)

_MOST_WAITING = 8  # questions
_MOST_FIELDS = 10
_FIELD_BYTES = 1000  # of the class and the position
_HEADERS = {
    # No scripts, no pictures but those of the page itself, no other site; a Space is shown in a frame of the Hub.
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self' https://huggingface.co",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
#: Names by which a machine calls itself.
LOCAL = {"localhost", "127.0.0.1", "::1"}


def build_app(demo: DemoModel, is_local: bool = True) -> web.Application:
    """Build the application.

    Args:
        demo: the model.
        is_local: refuse requests that name another host than this one: a foreign page whose name was made to point to
            this machine could otherwise read answers.
    """
    page = _Page(demo)
    app = web.Application(middlewares=[_only_from_here(is_local)])
    app.router.add_get("/", page.show)
    app.router.add_post("/", page.answer)
    return app


def _only_from_here(is_local: bool) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return the middleware that refuses requests of other sites."""

    @web.middleware
    async def check(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if is_local and request.url.host not in LOCAL:
            raise web.HTTPForbidden(text="this page is for this machine only")
        if request.method == "POST" and request.headers.get("Sec-Fetch-Site") == "cross-site":
            raise web.HTTPForbidden(text="this page answers no forms of other sites")
        return await handler(request)

    return check


class _Page:
    """Answers requests.

    Args:
        demo: the model.
    """

    def __init__(self, demo: DemoModel) -> None:
        self._demo, self._targets = demo, targets_of(demo)
        self._lock, self._waiting = asyncio.Lock(), 0

    async def show(self, request: web.Request) -> web.Response:
        """Return the empty page."""
        return self._response(200)

    async def answer(self, request: web.Request) -> web.Response:
        """Return the page with the answer to a question, or with one line that says what is wrong."""
        if self._waiting >= _MOST_WAITING:
            return self._response(503, error="too many people are asking; try again in a minute")
        self._waiting += 1
        question = Question(b"")
        try:
            question = await _read_question(request)
            async with self._lock:  # the model computes one answer at a time
                found = await asyncio.to_thread(answer, self._demo, question)
            return self._response(200, answer=found, target=question.target)
        except InputError as error:
            return self._response(400, error=str(error), target=question.target)
        except Exception as error:  # the page must live on; the traceback is for whoever started it
            logger.exception("a question could not be answered")
            return self._response(500, error=f"an unexpected {type(error).__name__}; see the terminal of the page")
        finally:
            self._waiting -= 1

    def _response(self, status: int, **found: object) -> web.Response:
        """Return a page; the arguments are those of `write_page`."""
        text = write_page(self._demo.name, self._targets, **found)  # type: ignore[arg-type]
        return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)


async def _read_question(request: web.Request) -> Question:
    """Read the fields of the form.

    Raises:
        InputError: if they are too large, no form was sent, or the position is not a whole number.
    """
    try:
        fields = await _read_fields(request)
    except InputError:
        raise
    except (ValueError, HttpProcessingError) as error:  # from aiohttp: the form or the head of a part is damaged
        raise InputError("no form, or a damaged one: open the page in a browser, and send it again") from error
    position = fields.get("position", b"").decode("utf-8", "replace").strip()
    if position and not (position.isascii() and position.isdigit()):
        raise InputError("position must be a whole number, 1 or more; correct it or leave it empty")
    content = fields.get("file") or fields.get("dna", b"")
    target = fields.get("target", b"").decode("utf-8", "replace")
    return Question(content, target, int(position) if position else None)


async def _read_fields(request: web.Request) -> dict[str, bytes]:
    """Read the fields of a form into memory; aiohttp's ``post`` would write an uploaded file to disk."""
    if request.content_type != "multipart/form-data":
        raise ValueError(request.content_type)
    fields: dict[str, bytes] = {}
    async for part in await request.multipart():  # type: ignore[misc]  # aiohttp finds Self on 3.11 only
        if not isinstance(part, BodyPartReader):
            raise ValueError("a form in a form")
        fields[part.name or ""] = await _read_field(part)
        if len(fields) > _MOST_FIELDS:
            raise ValueError("too many fields")
    return fields


async def _read_field(part: BodyPartReader) -> bytes:
    """Read a field; raise InputError if it is too large."""
    is_input = part.name in ("dna", "file")
    content, most = bytearray(), MOST_BYTES if is_input else _FIELD_BYTES
    while chunk := await part.read_chunk():
        content += chunk
        if len(content) > most:
            name = repr((part.name or "")[:20])
            raise (
                too_large()
                if is_input
                else InputError(f"the field {name} has more than {most:,} bytes; correct it or leave it empty")
            )
    return bytes(content)
