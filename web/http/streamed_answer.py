"""An answer that is sent chunk by chunk, for as long as its reader takes the chunks and stays."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import structlog
from litestar import Response
from litestar.types import HTTPResponseBodyEvent, Receive, Scope, Send

from web.http.etag import is_bodiless

TAKE_S = 15.0  # the longest time that a reader may let one chunk wait

log = structlog.get_logger(process="web")


class Chunks(Protocol):
    """What is sent, as an asynchronous generator yields it."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the chunks in their order."""

    async def aclose(self) -> None:
        """End, whether or not all chunks were taken."""


class StreamedAnswer(Response[None]):
    """Sends chunks, and closes them when all are sent, or the reader leaves or is too slow."""

    def __init__(self, chunks: Chunks, headers: Sequence[tuple[bytes, bytes]]) -> None:
        super().__init__(None)
        self._chunks, self._headers = chunks, headers

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Return what sends the answer."""
        return self._send

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_sent = not is_bodiless(scope)
        if not is_sent:
            await self._chunks.aclose()
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        if not is_sent:
            await send(_body_event(b"", more=False))
            return
        leaving = asyncio.create_task(_await_departure(receive))
        sending = asyncio.create_task(self._send_chunks(send))
        try:
            await asyncio.wait((leaving, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (leaving, sending):
                task.cancel()
            await asyncio.gather(leaving, sending, return_exceptions=True)

    async def _send_chunks(self, send: Send) -> None:
        """Send all chunks. A reader who does not take one in time is cut off in the midst of it."""
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(TAKE_S):  # not wait_for, which may swallow that the task is cancelled
                        await send(_body_event(chunk, more=True))
                        await asyncio.sleep(0)  # whoever takes all at once holds up nobody
                except TimeoutError:
                    log.info("reader_cut_off")
                    return
        await send(_body_event(b"", more=False))


def _body_event(chunk: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


async def _await_departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
