"""The schedule against an oracle which walks real minutes and knows nothing of domain.schedule, and against croniter."""

# ruff: noqa: RUF001 the refusals hold the en dash of the contract

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pytest
from croniter import croniter
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from domain.errors import BadSchedule
from domain.schedule import cron_days, cron_schedule
from domain.schedule.cron_schedule import Cron, count, counts, last_until, next_after, occurrences, parse_cron
from tests.examples import examples

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
CLOCK_CHANGES = (
    ("Europe/Amsterdam", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Amsterdam", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("UTC", datetime(2028, 2, 29, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 12, 31, 18, 30, tzinfo=UTC)),
)


# --- the oracle


@cache
def allows(field: str, limits: tuple[int, int], value: int) -> bool:
    """Whether a cron field allows the value."""
    low, high = limits
    for part in field.split(","):
        span, _, step = part.partition("/")
        ends = [low, high] if span == "*" else [int(end) for end in span.split("-")]
        if len(ends) == 1:
            ends.append(max(ends[0], high) if step else ends[0])
        if value in range(ends[0], ends[1] + 1, int(step or 1)):
            return True
    return False


def matches(fields: list[str], wall: datetime) -> bool:
    """Whether all five fields allow the wall time."""
    now = (wall.minute, wall.hour, wall.day, wall.month, (wall.weekday() + 1) % 7)
    minute, hour, day, month, weekday = map(allows, fields, LIMITS, now)
    weekday = weekday or (now[4] == 0 and allows(fields[4], LIMITS[4], 7))
    restricted = fields[2][0] != "*" and fields[4][0] != "*"
    return minute and hour and month and ((day or weekday) if restricted else (day and weekday))


def walk(expression: str, timezone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every occurrence in (after, until], found by looking at each real minute."""
    fields, zone = expression.split(), ZoneInfo(timezone)
    interval = fields[0][0] == "*" or fields[1][0] == "*"
    moment = after.replace(second=0, microsecond=0)
    wall_time = moment.astimezone(zone).replace(tzinfo=None)
    while (moment := moment + MINUTE) <= until:
        wall = moment.astimezone(zone)
        before, wall_time = wall_time, wall.replace(tzinfo=None)
        skipped = (wall_time - before) // MINUTE - 1
        in_gap = not interval and any(matches(fields, before + n * MINUTE) for n in range(1, skipped + 1))
        if in_gap or (matches(fields, wall_time) and (interval or not wall.fold)):
            yield moment


# --- what is drawn


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    """One field: plain values most often, then ranges, steps and lists."""
    value = st.integers(low, high).map(str)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: f"{min(ends)}-{max(ends)}")
    step = st.integers(1, high + 5).map(str)
    stepped = st.tuples(st.one_of(st.just("*"), span, value), step).map("/".join)
    part = st.one_of(value, span, stepped)
    return st.one_of(value, part, st.lists(part, min_size=2, max_size=3).map(",".join))


ANY_EXPRESSIONS = st.tuples(
    st.one_of(st.just("*"), numbers(0, 59)),
    st.one_of(st.just("*"), numbers(0, 4), numbers(0, 23)),
    st.one_of(st.just("*"), st.just("*"), st.just("*"), numbers(1, 28)),
    st.one_of(st.just("*"), st.just("*"), st.just("*"), numbers(1, 12)),
    st.one_of(st.just("*"), st.just("*"), st.just("*"), numbers(0, 7)),
).map(" ".join)
# Clock changes fall upon one or several of their times.
NIGHTLY = st.tuples(
    st.one_of(numbers(0, 59), st.sampled_from(("0", "0,30", "5-55/10"))), numbers(1, 3), st.just("* * *")
).map(" ".join)
EXPRESSIONS = st.one_of(NIGHTLY, ANY_EXPRESSIONS)
CHANGES = st.sampled_from(CLOCK_CHANGES)
OFFSETS = st.integers(
    -1500, 180
)  # minutes from a clock change to where a period begins that is to hold it, or just misses it
SECONDS = st.sampled_from((timedelta(), timedelta(seconds=1), timedelta(seconds=59, microseconds=999_999)))


def with_examples(suite: int, campaign: int) -> settings:
    return settings(max_examples=examples(suite, campaign))


def moment_of(text: str, timezone: str = "UTC") -> datetime:
    """A moment from its wall time and zone."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def runs(expression: str, timezone: str, after: str, until: str) -> list[str]:
    """The occurrences in wall time with the offset, both ends given as wall times."""
    rule, period = parse_cron(expression, timezone), (moment_of(after, timezone), moment_of(until, timezone))
    moments = list(occurrences(rule, *period))
    assert len(moments) == count(rule, *period)
    return [moment.astimezone(ZoneInfo(timezone)).isoformat(timespec="minutes") for moment in moments]


# --- laws


@pytest.mark.slow
@with_examples(200, 350)
@for_all(EXPRESSIONS, CHANGES, OFFSETS, SECONDS)
def test_occurrences_count_and_last_agree_with_the_minute_walk(expression, change, minutes, seconds):
    timezone, moment = change
    after = moment + minutes * MINUTE + seconds
    until = after + timedelta(hours=30)
    rule = Cron(expression, timezone)

    expected = list(walk(expression, timezone, after, until))

    moments = list(islice(occurrences(rule, after, until), len(expected) + 1))
    assert expected == moments
    assert len(expected) == count(rule, after, until)
    assert (expected[-1] if expected else None) == last_until(rule, until, after)


@with_examples(60, 150)
@for_all(EXPRESSIONS, CHANGES, OFFSETS)
def test_asking_afresh_for_each_occurrence_gives_the_iterated_ones(expression, change, minutes):
    timezone, moment = change
    after = moment + minutes * MINUTE
    rule = Cron(expression, timezone)
    iterated = list(islice(occurrences(rule, after, after + 3 * DAY), 50))

    one_by_one = [next_after(rule, earlier) for earlier in [after, *iterated[:-1]]] if iterated else []

    assert iterated == one_by_one
    assert all(earlier < later for earlier, later in pairwise([after, *iterated]))
    assert all(occurrence.tzinfo is UTC and occurrence.second == occurrence.microsecond == 0 for occurrence in iterated)


@with_examples(60, 150)
@for_all(EXPRESSIONS, CHANGES, OFFSETS, st.integers(0, 600), st.integers(0, 600))
def test_counts_of_two_adjoining_periods_add_up(expression, change, minutes, hours, more):
    timezone, moment = change
    rule = Cron(expression, timezone)
    after = moment + minutes * MINUTE
    middle = after + timedelta(hours=hours)
    until = middle + timedelta(hours=more)

    parts = [count(rule, after, middle), count(rule, middle, until)]
    assert count(rule, after, until) == sum(parts)
    assert parts == counts(rule, [after, middle, until])


@with_examples(100, 300)
@for_all(st.text(alphabet="0123456789*/,- \tMONjanLWHR#?@.x", max_size=40))
def test_any_text_is_either_a_schedule_or_refused(text):
    try:
        rule = parse_cron(text)
    except BadSchedule:
        return
    assert next_after(rule, NEW_YEAR) > NEW_YEAR


# --- clock changes


def test_a_fixed_time_in_the_spring_gap_runs_once_at_the_end_of_the_gap():
    assert [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ] == runs("30 2 * * *", "Europe/Amsterdam", "2026-03-28T00:00", "2026-03-31T00:00")


def test_several_fixed_times_in_one_gap_run_once_together():
    assert ["2026-03-29T03:00+02:00"] == runs(
        "10,20,40 2 * * *", "Europe/Amsterdam", "2026-03-29T00:00", "2026-03-30T00:00"
    )


def test_the_end_of_the_gap_is_not_run_twice_when_it_is_an_occurrence_itself():
    assert ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"] == runs(
        "0,30 2,3 * * *", "Europe/Amsterdam", "2026-03-29T00:00", "2026-03-30T00:00"
    )


def test_a_fixed_midnight_which_does_not_exist_runs_at_one():
    assert ["2026-03-29T01:00+03:00"] == runs("0 0 * * *", "Asia/Beirut", "2026-03-28T12:00", "2026-03-29T12:00")


def test_a_fixed_time_which_comes_twice_runs_the_first_time():
    assert ["2026-10-25T02:30+02:00"] == runs("30 2 * * *", "Europe/Amsterdam", "2026-10-25T00:00", "2026-10-26T00:00")


def test_nothing_fixed_runs_when_asked_within_the_second_pass():
    second_pass = moment_of("2026-10-25T01:15")
    assert moment_of("2026-10-26T01:30") == next_after(parse_cron("30 2 * * *", "Europe/Amsterdam"), second_pass)


def test_an_hourly_schedule_runs_in_both_passes_and_skips_the_gap():
    assert ["01:00+01:00", "03:00+02:00"] == [
        run[11:] for run in runs("0 * * * *", "Europe/Amsterdam", "2026-03-29T00:30", "2026-03-29T03:30")
    ]
    assert ["02:00+02:00", "02:00+01:00", "03:00+01:00"] == [
        run[11:] for run in runs("0 * * * *", "Europe/Amsterdam", "2026-10-25T01:30", "2026-10-25T03:30")
    ]


def test_an_every_other_hour_schedule_is_not_moved_out_of_the_gap():
    assert ["00:00+01:00", "04:00+02:00"] == [
        run[11:] for run in runs("0 */2 * * *", "Europe/Amsterdam", "2026-03-28T23:30", "2026-03-29T05:30")
    ]


def test_a_change_of_thirty_minutes_is_followed_by_the_minute():
    assert ["01:28+11:00", "01:35+11:00", "01:42+11:00", "01:49+11:00", "01:56+11:00", "01:35+10:30"] == [
        run[11:] for run in runs("*/7 1 * * *", "Australia/Lord_Howe", "2026-04-05T01:25", "2026-04-05T02:30")
    ][:6]


def test_a_day_that_was_skipped_runs_when_the_next_begins():
    assert ["2011-12-31T00:00+14:00", "2011-12-31T09:00+14:00"] == runs(
        "0 9 * * *", "Pacific/Apia", "2011-12-29T12:00", "2011-12-31T12:00"
    )


# --- days


def test_a_leap_day_waits_for_its_year():
    rule = parse_cron("0 0 29 2 *")
    assert moment_of("2028-02-29") == next_after(rule, NEW_YEAR)
    assert moment_of("2104-02-29") == next_after(rule, moment_of("2096-02-29"))
    assert 25 == count(rule, moment_of("2000-01-01"), moment_of("2100-01-01"))


def test_both_day_fields_restricted_run_on_either():
    assert [2, 6, 9, 13, 16, 23, 30] == days_of_january("0 0 13,6 * 5")
    assert list(range(1, 32)) == days_of_january("0 0 13 * 0-6") == days_of_january("0 0 1-31 * 5")


def test_a_day_field_with_a_star_must_match_as_well():
    assert [5, 19] == days_of_january("0 0 */2 * 1")[:2]
    assert [13] == days_of_january("0 0 13 * */2")


def days_of_january(expression: str) -> list[int]:
    """The days of January 2026, which begins on a Thursday."""
    return [run.day for run in occurrences(parse_cron(expression), NEW_YEAR - MINUTE, moment_of("2026-01-31T23:59"))]


@pytest.mark.parametrize(
    ("expression", "meaning"),
    [
        ("0 9 * * MON-fri", "0 9 * * 1-5"),
        ("0 9 * * Sun,WED", "0 9 * * 0,3"),
        ("0 9 * JAN-mar,Dec *", "0 9 * 1,2,3,12 *"),
        ("0 9 * * 7", "0 9 * * 0"),
        ("0 9 * * 5-7", "0 9 * * 0,5,6"),
        ("0 9 * * SAT-SUN", "0 9 * * 0,6"),
        ("0 9 * * fri-sun", "0 9 * * 0,5,6"),
        ("0 9 * * MON-SUN", "0 9 * * 0-6"),
        ("0 9 * * MON-SUN/2", "0 9 * * 1,3,5,0"),
        ("0 9 * * SUN-SUN", "0 9 * * 0"),
        ("0 9 * * SUN-SAT", "0 9 * * 0-6"),
        (",".join(map(str, range(60))) + " " + ",".join(map(str, range(24))) + " 1 * *", "0-59 0-23 1 * *"),
        ("0 9 * * 1/2", "0 9 * * 1,3,5"),
        ("0 9-9 * * *", "0 9 * * *"),
        ("0 0 10-10 * *", "0 0 10 * *"),
        ("*/90 9 * * *", "0 9 * * *"),
        ("50/5 9 * * *", "50,55 9 * * *"),
        ("00 09 01 01 *", "0 9 1 1 *"),
        ("0\t9   * *\n*", "0 9 * * *"),
    ],
)
def test_names_sevens_ranges_and_steps_have_their_usual_meaning(expression, meaning):
    until = NEW_YEAR + 60 * DAY
    expected = list(occurrences(parse_cron(meaning), NEW_YEAR, until))

    assert expected == list(occurrences(parse_cron(expression), NEW_YEAR, until))
    assert len(expected) == count(parse_cron(expression), NEW_YEAR, until)


# --- refusals


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("bogus", 'Cron expression must have exactly 5 fields, got 1: "bogus"'),
        ("", 'Cron expression must have exactly 5 fields, got 0: ""'),
        ("@daily", 'Cron expression must have exactly 5 fields, got 1: "@daily"'),
        (" 30 0 9 * * 1 ", 'Cron expression must have exactly 5 fields, got 6: "30 0 9 * * 1"'),
        ("60 * * * *", "Value 60 out of range [0–59] for cron minute field"),
        ("0 24 * * *", "Value 24 out of range [0–23] for cron hour field"),
        ("0 0 0 * *", "Value 0 out of range [1–31] for cron day of month field"),
        ("0 0 * 1-13 *", "Value 13 out of range [1–12] for cron month field"),
        ("0 0 * * 8", "Value 8 out of range [0–7] for cron day of week field"),
        ("0 0 * MON *", 'Invalid value "MON" in cron month field'),
        ("0 0 * * JAN", 'Invalid value "JAN" in cron day of week field'),
        ("0 0 ? * *", 'Invalid value "?" in cron day of month field'),
        ("0 0 L * *", 'Invalid value "L" in cron day of month field'),
        ("0 0 15W * *", 'Invalid value "15W" in cron day of month field'),
        ("0 0 * * 5#3", 'Invalid value "5#3" in cron day of week field'),
        ("R R * * *", 'Invalid value "R" in cron minute field'),
        ("0 H * * *", 'Invalid value "H" in cron hour field'),
        ("5x * * * *", 'Invalid value "5x" in cron minute field'),
        ("1.5 * * * *", 'Invalid value "1.5" in cron minute field'),
        ("1-3-5 * * * *", 'Invalid value "1-3-5" in cron minute field'),
        ("-5 * * * *", 'Invalid value "-5" in cron minute field'),
        ("5- * * * *", 'Invalid value "5-" in cron minute field'),
        ("*-5 * * * *", 'Invalid value "*-5" in cron minute field'),
        ("** * * * *", 'Invalid value "**" in cron minute field'),
        ("*/0 * * * *", 'Invalid step "0" in cron minute field'),
        ("*/ * * * *", 'Invalid step "" in cron minute field'),
        ("*/2/3 * * * *", 'Invalid step "2/3" in cron minute field'),
        ("*/-2 * * * *", 'Invalid step "-2" in cron minute field'),
        ("5-1 * * * *", "Invalid range 5-1 in cron minute field (start > end)"),
        ("0 0 * * FRI-MON", "Invalid range FRI-MON in cron day of week field (start > end)"),
        ("0 0 * * 6-0", "Invalid range 6-0 in cron day of week field (start > end)"),
        ("1,,2 * * * *", "Empty element in cron minute field"),
        ("0 0 1, * *", "Empty element in cron day of month field"),
        ("0 9 31 2 *", 'Cron expression never matches a date: "0 9 31 2 *"'),
        ("0 9 31 feb,4,6,9,11 *", 'Cron expression never matches a date: "0 9 31 feb,4,6,9,11 *"'),
        ("0 9 30 2 */2", 'Cron expression never matches a date: "0 9 30 2 */2"'),
        ("0 0 * * ٣", 'Cron expression must be ASCII: "0 0 * * ٣"'),
        ("0 0 * * " + "1," * 496 + "1", "Cron expression must have at most 1000 characters, got 1001"),
    ],
)
def test_a_wrong_expression_is_refused_with_a_text_that_says_where(expression, text):
    with pytest.raises(BadSchedule) as refusal:
        parse_cron(expression)
    assert text == refusal.value.message


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "", "Europe", "../UTC", "/etc/localtime", "localtime", "x\0y"])
def test_an_unknown_zone_is_refused(timezone):
    with pytest.raises(BadSchedule) as refusal:
        parse_cron("0 9 * * *", timezone)
    assert f"Invalid timezone: {timezone}" == refusal.value.message


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("utc", "UTC"),
        (" EST5EDT ", "EST5EDT"),
        ("AMERICA/new_york", "America/New_York"),
    ],
)
def test_a_zone_is_known_by_its_name_in_any_case_and_kept_as_it_is_spelled(name, spelled):
    assert Cron("0 9 * * *", spelled) == parse_cron("0 9 * * *", name)


def test_the_clocks_of_vancouver_stay_on_summer_time_as_the_pinned_zone_data_say():
    """British Columbia does not set its clocks back in November 2026 (IANA tz 2026b): 09:00 is 16:00 UTC all year."""
    assert moment_of("2026-12-01T16:00") == next_after(
        parse_cron("0 9 * * *", "America/Vancouver"), moment_of("2026-12-01T00:00")
    )


def test_an_impossible_day_is_allowed_beside_a_possible_weekday():
    assert moment_of("2026-02-02T09:00") == next_after(parse_cron("0 9 31 2 1"), NEW_YEAR)


def test_a_naive_moment_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        next_after(parse_cron("0 9 * * *"), datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_expression_is_stored_trimmed_and_otherwise_verbatim():
    assert Cron("0  9 * * mon", "Europe/Paris") == parse_cron("  0  9 * * mon\n", " Europe/Paris ")


def test_a_stored_schedule_always_decodes():
    assert Cron("bogus", "Mars/Olympus") == msgspec.json.decode(
        b'{"expression":"bogus","timezone":"Mars/Olympus"}', type=Cron
    )


# --- searches end


MOST_LOOK_UPS = 4_000  # of offsets, by one search: 12 ms
MOST_YEARS = 1_000  # that one search looks at
RARE = st.tuples(
    st.one_of(st.just("*"), numbers(0, 59)),
    st.sampled_from(("*", "0", "1", "2", "3", "23", "1-3")),
    st.sampled_from(("*", "1", "*/31", "29", "30", "31", "1-7", "25-31", "*/29")),
    st.sampled_from(("*", "2", "3", "4", "9", "10", "11", "2,10")),
    st.sampled_from(("*", "0", "*/7", "1", "*/6", "5")),
).map(" ".join)
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
MOMENTS = st.integers(0, 230 * 366 * 24 * 60).map(lambda minutes: datetime(1970, 1, 1, tzinfo=UTC) + minutes * MINUTE)


class Steps:
    """Counts what a search looks at; nothing that was kept of earlier searches helps it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.look_ups = self.years = 0
        for cached_function in (cron_schedule.next_after, cron_schedule._offset_changes, cron_days._offsets_of_days):
            cached_function.cache_clear()
        look_up, year = cron_schedule._offset_at, cron_days._days_of_year

        def counted_look_up(*args):
            self.look_ups += 1
            return look_up(*args)

        def counted_year(*args):
            self.years += 1
            return year(*args)

        patch.setattr(cron_schedule, "_offset_at", counted_look_up)
        patch.setattr(cron_days, "_days_of_year", counted_year)


@with_examples(120, 400)
@for_all(RARE, ZONES, MOMENTS)
def test_the_next_occurrence_or_never_is_found_within_a_bound_of_steps(expression, timezone, moment):
    try:
        rare = parse_cron(expression, timezone)
    except BadSchedule:
        return
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch)
        occurrence = next_after(rare, moment)

    assert occurrence is None or occurrence > moment
    assert steps.look_ups <= MOST_LOOK_UPS
    assert steps.years <= MOST_YEARS


@pytest.mark.parametrize(
    ("expression", "timezone"),
    [
        ("* 2 */31 10 0", "Australia/Sydney"),  # the first of October on a Sunday, when 02:00 to 03:00 is left out
        ("* 2 1-7 10 */7", "Australia/Sydney"),
        ("* 3 31 3 */7", "Europe/Vilnius"),
        ("* 2 8-14 3 */7", "America/New_York"),
        ("* 1 25-31 3 */7", "Europe/London"),
    ],
)
def test_a_schedule_whose_times_are_always_left_out_never_comes(monkeypatch, expression, timezone):
    never = parse_cron(expression, timezone)
    steps = Steps(monkeypatch)

    assert next_after(never, NEW_YEAR) is None
    assert [] == list(occurrences(never, NEW_YEAR, moment_of("2200-01-01")))
    assert 0 == count(never, NEW_YEAR, moment_of("2060-01-01"))
    assert last_until(never, moment_of("2060-01-01"), NEW_YEAR) is None
    assert steps.look_ups <= 10 * MOST_LOOK_UPS


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 0 29 2 *", "2096-03-01", "2104-02-29"),
        ("0 0 29 2 */7", "2026-01-01", "2032-02-29"),
        ("0 0 29 2 */7", "2088-03-01", "2128-02-29"),
        ("0 0 */31 1 */7", "2026-01-01", "2034-01-01"),
        ("0 0 31 12 */6", "9990-01-01", "9994-12-31"),
    ],
)
def test_what_comes_rarely_is_found(expression, after, expected):
    assert moment_of(expected) == next_after(parse_cron(expression), moment_of(after))


def test_what_has_no_date_before_the_calendar_ends_has_none():
    assert next_after(parse_cron("0 0 29 2 *"), moment_of("9996-03-01")) is None


@with_examples(80, 200)
@for_all(RARE.filter(lambda text: not re.search(r"(?<![0-9])([0-9]+)-\1(?![0-9])", text)), MOMENTS)
def test_without_clock_changes_croniter_finds_the_same(expression, moment):
    try:
        rare = parse_cron(expression)
    except BadSchedule:
        return
    assert croniter(expression, moment, implement_cron_bug=True).get_next(datetime) == next_after(rare, moment)


# --- periods and speed


def test_a_period_is_open_at_its_start_and_closed_at_its_end():
    noon, next_noon = moment_of("2026-01-01T12:00"), moment_of("2026-01-02T12:00")
    rule = parse_cron("0 12 * * *")

    assert [next_noon] == list(occurrences(rule, noon, next_noon))
    assert next_noon == last_until(rule, next_noon, noon)
    assert 0 == count(rule, noon, next_noon - timedelta(microseconds=1))
    assert 1 == count(rule, noon - timedelta(microseconds=1), noon)
    assert 0 == count(rule, next_noon, noon)
    assert last_until(rule, noon, next_noon) is None


def test_a_year_of_minutes_is_counted_without_walking_it():
    """To walk a century of them would take longer than a test may."""
    rule = parse_cron("* * * * *", "Europe/Amsterdam")

    assert 525_600 == count(rule, NEW_YEAR, NEW_YEAR + 365 * DAY)
    assert 100 * 525_600 == count(rule, NEW_YEAR, NEW_YEAR + 100 * 365 * DAY)
    assert NEW_YEAR + 365 * DAY == last_until(rule, NEW_YEAR + 365 * DAY, NEW_YEAR)
