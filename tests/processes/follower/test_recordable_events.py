"""What the domain can record every reader can read; what is too deep or too large is refused before it is recorded."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from application.event_store.codec import encode
from application.event_store.store import EventStore
from domain.bounds.limits import Limits
from domain.errors import Oversized
from domain.events import TaskCreated
from domain.recorded import Recorded
from domain.values import TaskDetails
from projections import catalogue
from projections.engine import isolation
from tests.events import ANY_EVENT, nested
from tests.examples import examples
from tests.processes.follower.following import MANY_LEVELS, follow_to_head


def task_created(workflow):
    return TaskCreated(details=TaskDetails(name="x", workflow=workflow))


def record_of(event):
    now = datetime(2026, 11, 22, tzinfo=UTC)
    return Recorded(stream_id=uuid4(), version=1, at=now, actor="system", company_id=uuid4(), event=event)


@settings(
    max_examples=examples(suite=12, campaign=25),
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(events=st.lists(ANY_EVENT, min_size=1, max_size=20))
def test_whatever_may_be_recorded_every_reader_can_read(system, owner, conn, events):
    appended = []
    for event in events:
        try:
            owner.store.append([record_of(event)])
        except Oversized:
            continue
        appended.append(event)

    follow_to_head(conn, catalogue.ALL, system.store)

    head = system.store.head()
    assert appended == [one.event for one in system.store.after(head - len(appended), len(appended) + 1)]
    out_of_order = "ImpossibleHistory"  # these events follow from no decision
    assert {out_of_order} >= {one.reason for one in isolation.isolated_events(conn, 1_000)}


@pytest.mark.parametrize("depth", [0, 10, 96])
def test_what_is_nested_no_deeper_than_the_bound_is_recorded(depth):
    encode(record_of(task_created(nested(depth))), Limits(max_event_depth=100))


@pytest.mark.parametrize("depth", [97, 100, MANY_LEVELS, 2 * MANY_LEVELS, 100_000])
def test_what_is_nested_too_deeply_is_refused_before_it_is_recorded(depth):
    with pytest.raises(Oversized, match=r"task\.created would be nested deeper than 100 levels"):
        encode(record_of(task_created(nested(depth))), Limits(max_event_depth=100))


def test_what_is_too_large_is_refused_before_it_is_recorded(store):
    tight = EventStore(store.recorder, Limits(max_event_bytes=2_000, max_transaction_bytes=5_000))
    small, large = task_created({"text": "x" * 1_000}), task_created({"text": "x" * 2_000})
    tight.append([record_of(small) for _ in range(3)])

    with pytest.raises(
        Oversized, match=r"task\.created would have 2,\d\d\d bytes, and an event may have at most 2,000"
    ):
        tight.append([record_of(large)])
    with pytest.raises(Oversized, match=r"at once, and at most 5,000"):
        tight.append([record_of(small) for _ in range(5)])

    assert 3 == len(list(tight.history()))
