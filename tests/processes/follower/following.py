"""A follower brought to the head of the log, and events as any version may have recorded them."""

from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent

from processes.follower import Follower
from projections import catalogue
from projections.engine.read_model import ReadModel

NAMES = [model.name for model in catalogue.ALL]
MANY_LEVELS = 490  # of steps within steps: twice as many of JSON
SHAPE = ReadModel(name="any", tables=(), schema="", fold=lambda *_: None, keys_to_prefetch=lambda _: ()).schema_hash


def follow_to_head(conn, models, store, most=2_000):
    """Until the models are at the head."""
    follower = Follower(models, store.after)
    for _ in range(most):
        if not follower.step(conn):
            return
    pytest.fail("The read models do not come to the head")


def append_bodies(store, *bodies, name="trajectory.step_reported"):
    """Events as an older version could record them, whatever they hold."""
    store.recorder.insert_events([StoredEvent(uuid4(), 1, name, body) for body in bodies])


def body_of(event, company_id=None):
    company = "" if company_id is None else f',"company_id":"{company_id}"'
    return f'{{"at":"2026-11-22T12:00:00Z","actor":"system","event":{event}{company}}}'.encode()


def deep_call_of_task(company_id):
    """A call of a task with steps within steps, as one was recorded before there was a bound."""
    deep = "[" * (2 * MANY_LEVELS) + "]" * (2 * MANY_LEVELS)
    return body_of(
        f'{{"type":"run.fired","routine_id":"{uuid4()}","revision":1,"source":"manual",'
        f'"outcome":{{"type":"trajectory_started","trajectory_id":"{uuid4()}"}},"payload":{{"deep":{deep}}}}}',
        company_id,
    )
