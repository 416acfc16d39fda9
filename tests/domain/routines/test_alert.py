from datetime import UTC, datetime
from uuid import uuid4

import pytest
from msgspec.structs import asdict

from domain.errors import ImpossibleHistory
from domain.events import AlertClosed, AlertFailing, AlertMissed, AlertOverdue, AlertRecovered, AlertStuck, AlertUntaken
from domain.routines import alert
from domain.routines.alert import Alert, DueAlert
from tests.given import given

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
COMPANY, ROUTINE, RUN, SUBJECT = (uuid4() for _ in range(4))


def due_alert(kind, step="raise", **fields):
    return DueAlert(
        id=SUBJECT, company_id=COMPANY, kind=kind, step=step, since=NOON, routine_id=ROUTINE, run_id=RUN, **fields
    )


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("failing", AlertFailing),
        ("missed", AlertMissed),
        ("overdue", AlertOverdue),
        ("untaken", AlertUntaken),
        ("stuck", AlertStuck),
    ],
)
def test_each_kind_of_trouble_is_told_by_an_event_of_its_own(kind, event):
    events = alert.raise_alert(due_alert(kind, bound_sec=60, count=3), "Check", "exit status 3")

    assert isinstance(events, event)
    assert (SUBJECT, ROUTINE, "Check") == (events.subject_id, events.routine_id, events.title)
    assert Alert(is_open=True) == given(alert.evolve, events)


def test_a_routine_that_was_failing_has_recovered_and_any_other_trouble_is_closed():
    recovered, closed = (alert.end_alert(due_alert(kind, "close", count=2), "Check") for kind in ("failing", "stuck"))

    fields = {"subject_id": SUBJECT, "routine_id": ROUTINE, "title": "Check"}
    assert isinstance(recovered, AlertRecovered)
    assert fields | {"run_id": RUN, "failures": 2} == asdict(recovered)
    assert isinstance(closed, AlertClosed)
    assert fields | {"kind": "stuck"} == asdict(closed)


def test_an_alert_is_raised_once_and_closed_once():
    raised, closed = (
        alert.raise_alert(due_alert("stuck"), "Check", ""),
        alert.end_alert(due_alert("stuck", "close"), "Check"),
    )

    assert Alert(is_open=False) == given(alert.evolve, raised, closed)
    for events in [(raised, raised), (closed,), (raised, closed, closed)]:
        with pytest.raises(ImpossibleHistory):
            given(alert.evolve, *events)
