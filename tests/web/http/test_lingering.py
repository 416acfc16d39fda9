"""What a connection writes in one turn of the event loop goes out together, and nothing of it is lost when it is closed."""

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from web.http.lingering import LingeringTransport
from web.http.peers import Peers
from web.http.protocol import Connection


class Calls:
    """A transport that notes what it is told."""

    def __init__(self):
        self.steps, self.is_closed = [], False

    def write(self, data):
        if self.is_closed:
            raise RuntimeError
        self.steps.append([data])

    def writelines(self, parts):
        self.steps.append([*parts])

    def write_eof(self):
        self.steps.append("eof")

    def close(self):
        self.steps.append("close")
        self.is_closed = True

    def abort(self):
        self.is_closed = True

    def is_closing(self):
        return self.is_closed

    def get_extra_info(self, _name):
        return None


def calls_of(act, *, lingers=False):
    calls = Calls()

    async def story():
        await act(LingeringTransport(calls, lambda: lingers))  # type: ignore[arg-type]
        await asyncio.sleep(0)

    asyncio.run(story())
    return calls.steps


async def answer(transport):
    transport.write(b"head")
    transport.write(b"body")


def test_the_head_and_the_body_of_an_answer_go_out_in_one_call():
    assert [[b"head", b"body"]] == calls_of(answer)


def test_a_head_whose_body_is_yet_to_come_is_sent_in_the_next_turn_of_the_loop():
    async def begin(transport):
        transport.write(b"head")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        transport.write(b"first")
        transport.write(b"second")

    assert [[b"head"], [b"first", b"second"]] == calls_of(begin)


@pytest.mark.parametrize(("lingers", "last"), [(False, "close"), (True, "eof")])
def test_what_was_written_is_sent_before_the_connection_is_closed(lingers, last):
    async def end(transport):
        transport.write(b"head")
        transport.close()

    assert [[b"head"], last] == calls_of(end, lingers=lingers)


def test_nothing_is_sent_over_a_connection_that_was_given_up():
    async def give_up(transport):
        transport.write(b"head")
        transport.abort()

    assert [] == calls_of(give_up)


def test_an_answer_is_sent_before_the_loop_closes_the_connection_of_a_client_that_sends_no_more():
    """As it may be right after a HEAD, whose answer is one piece: the loop asks the protocol alone."""
    calls = Calls()

    async def story():
        config = uvicorn.Config(answer, http=Connection, ws="none", log_config=None)
        connection = Connection(config=config, server_state=ServerState(), app_state={}, peers=Peers(9, 9))
        connection.connection_made(calls)  # type: ignore[arg-type]
        connection.transport.write(b"head")
        if not connection.eof_received():
            calls.close()
        await asyncio.sleep(0)

    asyncio.run(story())
    assert [[b"head"], "close"] == calls.steps


def test_who_writes_to_a_connection_that_was_lost_hears_of_it():
    """Else a stream would go on for ever."""

    async def go_on(transport):
        transport.abort()
        with pytest.raises(RuntimeError):
            transport.write(b"more")

    assert [] == calls_of(go_on)
