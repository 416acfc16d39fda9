"""What can be erased of an event: every text, payload and name that people put in, and nothing that a fold rests on."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings

from domain.erasure import join_erasable, read_erased, split_erasable, subject_of
from domain.events import STORED_NAMES, KeyIssued, NameClaimed, UserRegistered
from domain.values import ERASABLE
from tests.canaries import CANARY, canaries, is_union
from tests.events import ANY_EVENT
from tests.examples import examples

# Texts that stay: each with why it is nothing that people have written, sent or are called.
STAYING = {
    "color": "a colour",
    "target_date": "a date",
    "idempotency_key": "an id of the sender's, by which anybody can see in the log that a request was carried out once",
    "issue_prefix": "at most a few letters, with which issues are numbered for ever",
    "permissions.*": "names of rights, of which there are a few",
    "prefix": "the part of a key that may be shown; it is random",
    "scope": "which kind of name, and ids",
    "adapter_type": "which program the agent's host is",
    "cron_expression": "when a schedule is due",
    "timezone": "the name of a zone",
    "version": "the version of the zone data",
    "zone_data": "the version of the zone data",
    "events.*": "kinds of events",
    "public_id": "a random address of ours",
}
# Reasons in words of ours. Those of other events are what somebody has said.
OUR_REASONS = {
    "agent.heartbeat_stopped",
    "backfill.cancelled",
    "company.erased",  # why it was erased has to be known, so the operator is told to write no name into it
    "delivery.dead",
    "delivery.failed",
    "endpoint.disabled",
    "probe.answered",
    "run.fired",  # of a firing that was skipped, or whose probe did not pass
    "trigger.missed",
    "user.erased",
}


def texts_left(hint: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The places of texts and free JSON in a type that are not marked."""
    if get_origin(hint) is Annotated:
        if ERASABLE not in hint.__metadata__:
            yield from texts_left(get_args(hint)[0], path)
    elif is_union(hint):
        for member in get_args(hint):
            yield from texts_left(member, path)
    elif get_origin(hint) is tuple:
        yield from texts_left(get_args(hint)[0], (*path, "*"))
    elif get_origin(hint) is dict or hint in (str, object, dict):
        yield path
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint, include_extras=True)
        for name in hint.__struct_fields__:
            yield from texts_left(hints[name], (*path, name))


@pytest.mark.parametrize("name", STORED_NAMES)
def test_every_text_of_an_event_can_be_erased_or_it_is_written_down_why_not(name):
    """Mark it with Text, Payload or ERASABLE where it is defined, or say here why it is nothing of anybody's."""
    left_texts = {".".join(path[-2:]) if path[-1] == "*" else path[-1] for path in texts_left(STORED_NAMES[name], ())}
    allowed = {*STAYING, "reason"} if name in OUR_REASONS else {*STAYING}

    assert set() == left_texts - allowed


@pytest.mark.parametrize("event", canaries(), ids=lambda event: type(event).__name__)
def test_nothing_that_can_be_erased_is_left_of_an_event(event):
    text = msgspec.json.encode(event).decode()
    remainder, parts = split_erasable(event)

    for stripped in (remainder, read_erased(event), read_erased(remainder)):
        assert CANARY not in msgspec.json.encode(stripped).decode()
    assert msgspec.json.encode(parts).decode().count(CANARY) == text.count(CANARY)


@settings(max_examples=examples(suite=100, campaign=300))
@given(ANY_EVENT)
def test_an_event_that_is_put_together_again_is_the_same(event):
    remainder, parts = split_erasable(event)

    assert join_erasable(remainder, msgspec.json.decode(msgspec.json.encode(parts))) == event
    assert split_erasable(read_erased(event))[0] == split_erasable(remainder)[0]


def test_a_users_own_name_and_address_belong_to_the_user_and_all_else_to_the_company():
    user, company, agent = uuid4(), uuid4(), uuid4()

    assert user == subject_of(user, None, UserRegistered(name="Ada"))
    assert user == subject_of(uuid4(), None, KeyIssued(name="Ada's laptop", user_id=user))
    assert company == subject_of(uuid4(), company, KeyIssued(name="of an agent", agent_id=agent))
    assert user == subject_of(
        uuid4(), company, NameClaimed(scope=f"email|{company}", name="a@b.example", holder_id=user)
    )
    assert company == subject_of(uuid4(), company, NameClaimed(scope="url key", name="scout", holder_id=agent))
    assert None is subject_of(uuid4(), None, NameClaimed(scope="email", name="a@b.example", holder_id=user))
