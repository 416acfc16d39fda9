"""What a process says of a database that is away: its beginning, once a minute, and its end."""

import pytest
from structlog.testing import capture_logs

from application.outage import REMINDER_S, SETTLED_S, Outage


class Story:
    """The outage of a process, on a clock of its own, and what it has said."""

    def __init__(self, **of):
        self.now = 1_000.0
        self.outage = Outage(clock=lambda: self.now, **of)

    def fail(self, part="scheduler", reason="refused"):
        self.outage.note_failure(part, ConnectionError(reason))

    def succeed(self, part="scheduler"):
        self.outage.note_success(part)


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def lines():
    with capture_logs() as lines:
        yield lines


def summary(lines):
    return [(line["event"], line["away_s"], line.get("failures")) for line in lines]


def test_it_is_told_when_it_begins_once_a_minute_and_when_it_is_over(story, lines):
    story.succeed()
    for _ in range(150):
        story.fail()
        story.now += 1
    story.succeed()
    story.succeed()

    assert [
        ("database_unreachable", 0.0, 1),
        ("database_unreachable", REMINDER_S, 60),
        ("database_unreachable", 2 * REMINDER_S, 60),
        ("database_reached", 150.0, None),
    ] == summary(lines)
    assert ["refused"] * 3 == [line["error"] for line in lines if "error" in line]


def test_the_parts_of_a_process_tell_it_together_and_it_is_over_when_all_of_them_work(story, lines):
    for part in ("projector", "notary", "projector"):
        story.fail(part)
        story.now += 1
    story.succeed("notary")
    story.fail("projector")
    story.succeed("projector")

    assert [("database_unreachable", 0.0, 1), ("database_reached", 3.0, None)] == summary(lines)


def test_the_next_one_is_told_from_its_beginning(story, lines):
    story.fail()
    story.now += 1
    story.succeed()
    story.now += SETTLED_S
    story.fail(reason="crashed")
    story.now += 2
    story.succeed()

    assert [("refused", 0.0), (None, 1.0), ("crashed", 0.0), (None, 2.0)] == [
        (line.get("error"), line["away_s"]) for line in lines
    ]


def test_a_part_that_fails_and_works_by_turns_is_told_no_more_often(story, lines):
    for _ in range(2 * int(REMINDER_S)):
        story.fail()
        story.succeed()
        story.now += 1

    assert [
        ("database_unreachable", 0.0, 1),
        ("database_reached", 0.0, None),
        ("database_unreachable", 0.0, int(REMINDER_S)),
        ("database_reached", 0.0, None),
    ] == summary(lines)


def test_a_command_that_ends_with_the_reason_says_nothing_before(lines):
    story = Story(is_told=False)
    story.fail()
    story.succeed()

    assert [] == lines
