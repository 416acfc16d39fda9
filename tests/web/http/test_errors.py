"""Which errors say "try again", and which must not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, OperationalError
from litestar import Request
from psycopg_pool import PoolTimeout
from structlog.testing import capture_logs

from application.event_store.postgres_errors import SESSION_ERRORS, ClockDiffers, NotRecorded, OutcomeUnknown
from projections.engine.positions import Lagging
from web.http.backend import Changed
from web.http.errors import STATUS_OF, Overloaded, to_response

REQUEST = Request[Any, Any, Any](cast("Any", {"type": "http"}))


def lagging_after_record() -> Lagging:
    error = Lagging(["issues"], 3)
    error.recorded = 7
    return error


@pytest.mark.parametrize("error", [Lagging(["issues"], 3), OperationalError("away"), IntegrityError("races lost")])
def test_what_recorded_nothing_may_be_tried_again(error: Exception):
    response = to_response(REQUEST, error)

    assert (503, "1") == (response.status_code, response.headers.get("Retry-After"))


@pytest.mark.parametrize("error", [lagging_after_record(), OutcomeUnknown("the answer was lost")])
def test_what_may_be_recorded_is_not_to_be_repeated_unseen(error: Exception):
    response = to_response(REQUEST, error)

    assert (503, None) == (response.status_code, response.headers.get("Retry-After"))
    assert "read it back" in response.content.error


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (psycopg.errors.DiskFull(), ": it has no room left"),
        (psycopg.errors.ReadOnlySqlTransaction(), ": it is read-only now"),
        (psycopg.errors.LockNotAvailable(), ": others have held for too long what the change needs"),
        (psycopg.errors.QueryCanceled(), ": it took too long"),
        (psycopg.errors.DeadlockDetected(), ""),
    ],
)
def test_what_postgres_has_refused_may_be_tried_again_and_is_told_with_the_reason(cause, reason):
    error = NotRecorded("refused")
    error.__cause__ = cause

    response = to_response(REQUEST, error)

    assert (503, "1") == (response.status_code, response.headers.get("Retry-After"))
    assert response.content.error == f"The database has refused the change{reason}. Nothing was recorded; try again"


@pytest.mark.parametrize("kind", SESSION_ERRORS)
def test_a_read_only_or_ended_session_is_no_error_of_ours(kind):
    assert (503, "1") == ((response := to_response(REQUEST, kind())).status_code, response.headers.get("Retry-After"))


@pytest.mark.parametrize("error", [psycopg.errors.DiskFull(), psycopg.errors.AdminShutdown(), PoolTimeout()])
def test_a_change_whose_answer_cannot_be_read_is_not_to_be_repeated(error: Exception):
    class Away:
        @contextmanager
        def consistent_read(self, *_: object, **__: object) -> Iterator[None]:
            raise error
            yield

    change = Changed(cast("Any", Away()), ("routines",), None, 7)
    with pytest.raises(Lagging) as caught:
        change.read(lambda _: None)

    response = to_response(REQUEST, caught.value)
    assert (503, None) == (response.status_code, response.headers.get("Retry-After"))
    assert {"readModels": ["routines"], "position": 7} == response.content.details


def test_a_clock_that_differs_is_not_called_a_busy_database():
    message = 'an event that begins {"at":"2026-11-29T13:00:00.5Z" is to be recorded at 2026-11-29 12:00:00+00'
    with capture_logs() as logged:
        response = to_response(REQUEST, ClockDiffers(message))

    assert (503, "The clock of this process differs from the database's; nothing was changed") == (
        response.status_code,
        response.content.error,
    )
    assert ("clock_differs", "error", 3_600.5) == tuple(
        logged[0][name] for name in ("event", "log_level", "difference_s")
    )


def test_too_much_at_once_stands_in_the_table():
    assert 503 == STATUS_OF[Overloaded]
    assert 503 == to_response(REQUEST, Overloaded("Too many")).status_code
