"""A stream ends when its reader leaves, whatever it is doing at that moment."""

import asyncio

import pytest

from web.events.live import Tail
from web.http.streamed_answer import StreamedAnswer

TURNS = range(8)  # of the event loop, within which the end of a wait and the cancellation meet
CHUNKS = 50


@pytest.mark.parametrize("turns", TURNS)
def test_a_stream_ends_also_when_its_reader_leaves_just_as_a_chunk_is_taken(turns):
    sent = []

    async def story():
        departure = asyncio.Event()

        async def chunks():
            for _ in range(CHUNKS):
                yield b"chunk"

        async def receive():
            await departure.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)
            departure.set()
            for _ in range(turns):
                await asyncio.sleep(0)

        answer = StreamedAnswer(chunks(), [])
        await answer.to_asgi_response()({"type": "http", "state": {}}, receive, send)

    asyncio.run(story())
    assert len(sent) < CHUNKS


@pytest.mark.parametrize("turns", TURNS)
def test_who_waits_for_news_can_be_stopped_just_as_there_are_some(turns):
    async def story():
        tail = Tail(None)
        waiting = asyncio.create_task(tail.news(60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tail._wake_readers()
        for _ in range(turns):
            await asyncio.sleep(0)
        has_ended = waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        return has_ended or waiting.cancelled()

    assert asyncio.run(story())
