"""Moves a projection of somebody's own along the log: to its head, or on and on. Nothing else waits for it."""

from collections.abc import Callable
from threading import Event as Stop

import psycopg

from application.audit import log_reader
from application.event_store.data_keys import ReadKeys
from application.outage import Outage
from processes.wakeup import Connection, Wakeup
from projections.engine import own_projection
from projections.engine.read_model import ReadModel

POLL_S = 5.0  # longest wait for the next event
TROUBLE_S = 1.0  # pause after the database could not be reached

Progress = Callable[[int, int], None]  # called with the position that is reached and the head of the log


def catch_up(conn: Connection, model: ReadModel, stop: Stop, progress: Progress = lambda _position, _head: None) -> int:
    """
    Fold what is in the log now; return the position that is reached, which is earlier after a stop.

    Raises AlreadyRuns, and CannotFold at an event that the projection cannot take.
    """
    with own_projection.hold_projection(conn, model):
        return _catch_up(conn, model, own_projection.open_schema(conn, model), stop, progress)


def _catch_up(conn: Connection, model: ReadModel, position: int, stop: Stop, progress: Progress) -> int:
    head, keys = log_reader.read_head(conn).position, ReadKeys(conn)
    for page in log_reader.read_pages(conn, head, own_projection.names_of(model.events), start=position):
        if stop.is_set():
            return position
        own_projection.fold(conn, model, log_reader.all_recorded(page, keys))
        position = page[-1].position
        progress(position, head)
    own_projection.arrive(conn, model, head)
    progress(head, head)
    return head


def follow(
    connect: Callable[[], Connection],
    model: ReadModel,
    stop: Stop,
    progress: Progress = lambda _position, _head: None,
) -> None:
    """
    Keep the projection at the head of the log until stopped, and wait for a database that is away.

    Raises AlreadyRuns, and CannotFold at an event that the projection cannot take.
    """
    wakeup, outage = Wakeup(connect), Outage()
    try:
        while not stop.is_set():
            try:
                with connect() as conn, own_projection.hold_projection(conn, model):
                    position = own_projection.open_schema(conn, model)
                    while not stop.is_set():
                        new_position = _catch_up(conn, model, position, stop, progress)
                        outage.note_success("own projection")
                        if new_position == position:
                            wakeup.wait(POLL_S, stop)
                        position = new_position
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                outage.note_failure("own projection", error)
                stop.wait(TROUBLE_S)
    finally:
        wakeup.close()
