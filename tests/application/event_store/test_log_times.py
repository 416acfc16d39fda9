"""An event says about the time at which it is recorded, or is refused."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from application.event_store.postgres_errors import ClockDiffers
from application.execute import Executor
from domain.events import AgentPaused
from tests.application.event_store.writers import BOUND, body_at, text


@pytest.mark.parametrize("difference", [timedelta(), BOUND * 0.9, -BOUND * 0.9])
def test_an_event_of_about_now_is_recorded(writers_fixture, difference):
    assert writers_fixture.append((uuid4(), "agent.paused", body_at(text(datetime.now(UTC) + difference))))


@pytest.mark.parametrize(
    "difference", [BOUND * 1.1, -BOUND * 1.1, timedelta(days=400), -timedelta(days=400)], ids=lambda d: f"{d}"
)
def test_an_event_of_another_time_is_refused(writers_fixture, difference):
    other = text(datetime.now(UTC) + difference)

    with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
        writers_fixture.append((uuid4(), "agent.paused", body_at(other)))


NOW, PAST = "{now}", "2020-01-01T00:00:00Z"
TRICKS = {
    "the past last": body_at(NOW, after=f',"at":"{PAST}"'),
    "the past last, spelt with escapes": body_at(NOW, after=f',"\\u0061t":"{PAST}"'),
    "the past last, in capital escapes": body_at(NOW, after=f',"a\\u0074":"{PAST}"'),
    "the past last, with room": body_at(NOW, after=f' , "at" : "{PAST}" '),
    "something before it": body_at(PAST, start='"x":{"at":"{now}"},'),
    "room before it": body_at(PAST, start=" "),
    "another field first": body_at(PAST, start='"z":1,'),
    "no time": b'{"actor":"system","event":{"type":"agent.paused"}}',
    "a number": b'{"at":1764398000,"actor":"system","event":{"type":"agent.paused"}}',
    "a word for now": body_at("now"),
    "for ever": body_at("infinity"),
    "of a zone": body_at("{naive}+00:00"),
    "of another shape": body_at("20261129T000000Z"),
    "no such day": body_at("2026-02-30T00:00:00Z"),
    "nothing": b"",
    "no JSON": b"not json",
    "half a JSON": b'{"at":',
    "a list": b'["at"]',
    "NUL": b"\x00",
    "no text": b"\xff\xfe",
    "no text, with a second time": b'{"at":"{now}","at":"\xff"}',
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_of_writing_records_another_time(writers_fixture, trick):
    now = text(datetime.now(UTC)).encode()
    written_body = TRICKS[trick].replace(b"{now}", now).replace(b"{naive}", now[:-1])

    with pytest.raises(psycopg.Error) as refusal:
        writers_fixture.append((uuid4(), "agent.paused", written_body))

    assert isinstance(refusal.value, psycopg.DataError | psycopg.errors.InvalidTextRepresentation), refusal.value


def test_one_event_of_another_time_refuses_its_whole_batch(writers_fixture):
    """Also when one before it begins like it, and ends at the right time."""
    past, now = "2020-01-01T00:00:00.000000Z", text(datetime.now(UTC))
    many = len(writers_fixture.log())

    with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
        writers_fixture.append(
            (uuid4(), "agent.paused", body_at(now)),
            (uuid4(), "agent.paused", body_at(past, after=f',"at":"{now}"')),
            (uuid4(), "agent.paused", body_at(past)),
        )

    assert len(writers_fixture.log()) == many


def test_what_events_carry_does_not_make_them_late(writers_fixture):
    """Payloads may have a field `at`, NULs and quotes of their own."""
    for inner in ('{"at":"2020-01-01T00:00:00Z"}', '"\\u0000"', '{"\\u0000at":1}', '"\\"at\\""'):
        now = text(datetime.now(UTC))
        written_body = f'{{"at":"{now}","actor":"system","event":{{"type":"agent.paused","extra":{inner}}}}}'.encode()

        assert writers_fixture.append((uuid4(), "agent.paused", written_body))


def test_a_decision_that_was_held_up_is_taken_again_on_the_present_time(writers_fixture):
    """A frozen process wakes up and commits what it decided an hour ago."""
    clocks = [writers_fixture.system.clock() - timedelta(hours=1), writers_fixture.system.clock()]
    times = iter(clocks)
    executor = Executor(writers_fixture.system.store, lambda: next(times))

    attempt = executor.attempt(lambda work: work.record(uuid4(), [AgentPaused()]))

    assert [recorded.at for recorded in attempt.recorded] == clocks[1:]


def test_a_clock_that_stays_wrong_is_a_refusal_that_recorded_nothing(writers_fixture):
    many = len(writers_fixture.log())
    executor = Executor(writers_fixture.system.store, lambda: writers_fixture.system.clock() + timedelta(hours=1))

    with pytest.raises(ClockDiffers) as refusal:
        executor.attempt(lambda work: work.record(uuid4(), [AgentPaused()]))

    assert len(writers_fixture.log()) == many
    assert refusal.value.difference_s == pytest.approx(3_600, abs=60)
