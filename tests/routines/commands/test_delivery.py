from contextlib import nullcontext
from datetime import timedelta
from threading import Event

from processes.delivery.outbound import Client
from routines import clock
from routines.clock import DatabaseClock
from routines.commands import delivery, entry


def test_to_read_an_answer_never_asks_postgres_for_the_time(system, monkeypatch):
    clients = list[Client]()
    monkeypatch.setattr(entry, "process", lambda _process: nullcontext((system, Event())))
    monkeypatch.setattr(delivery, "run", lambda _worker, client, *_: clients.append(client))
    delivery.delivery.callback()
    system.clock()
    monkeypatch.setattr(clock, "MAX_AGE_S", 0.0)
    monkeypatch.setattr(DatabaseClock, "_read", lambda _clock: 1 / 0)

    [client] = clients
    waits = client._retry_after([(b"retry-after", b"Fri, 31 Dec 2100 23:59:59 GMT")])

    assert waits > timedelta(days=365)
