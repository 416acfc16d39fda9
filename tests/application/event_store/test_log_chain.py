"""Whatever is changed in the log, or taken out of it, shows in the chain of hashes."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.audit import log_reader


@pytest.fixture
def rows(writers_fixture):
    return writers_fixture.log()


def defects(rows, head=None):
    last = rows[-1]
    faulty = log_reader.find_defects(rows, head or log_reader.Head(position=last.position, hash=last.hash))
    return [defect.position for defect in faulty]


def test_the_chain_of_what_was_recorded_has_no_defect(rows):
    assert defects(rows) == []


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"{}"},
        {"name": "agent.resumed"},
        {"version": 9},
        {"stream_id": UUID(int=1)},
        {"recorded_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"recorded_by": "somebody"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_changed_in_a_row_shows(rows, change):
    place = len(rows) // 2
    changed = replace(rows[place], **change)

    assert defects([*rows[:place], changed, *rows[place + 1 :]]) == [changed.position]


def test_a_row_without_its_login_among_those_that_have_one_shows_even_with_a_hash_that_fits(rows):
    place = len(rows) // 2
    bare = replace(rows[place], recorded_by=None)
    bare = replace(bare, hash=log_reader.hash_of(rows[place - 1].hash, bare))

    assert bare.position in defects([*rows[:place], bare, *rows[place + 1 :]])


def test_a_row_that_is_gone_shows_in_the_middle_and_at_the_end(rows):
    place, last = len(rows) // 2, rows[-1]
    head = log_reader.Head(position=last.position, hash=last.hash)

    assert defects([*rows[:place], *rows[place + 1 :]]) == [rows[place].position + 1]
    assert defects(rows[:-1], head) == [last.position]
