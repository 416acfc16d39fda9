"""The five fields of a cron expression, read strictly; refusals use the words of contract 4.1."""

from itertools import chain
from typing import NamedTuple

from domain.errors import BadSchedule

LONGEST_EXPRESSION = 1_000  # characters: every value of every field listed by name takes 500
SUNDAY = "SUN"  # also the end of a week: the last day of `SAT-SUN`


class Field(NamedTuple):
    """One of the five fields: the values it may hold, and the last one that `*` and `n/s` reach."""

    name: str
    low: int
    high: int
    reach: int
    names: tuple[str, ...] = ()  # the names of the values from `low` on


FIELDS = (
    Field("minute", 0, 59, 59),
    Field("hour", 0, 23, 23),
    Field("day of month", 1, 31, 31),
    Field("month", 1, 12, 12, tuple("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split())),  # noqa: SIM905
    Field("day of week", 0, 7, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),
)


def read(expression: str) -> tuple[list[str], list[set[int]]]:
    """Return the five texts, and the values that each stands for. Raise BadSchedule, which names the first fault."""
    texts = _split(expression)
    return texts, [_parse_values(*pair) for pair in zip(FIELDS, texts, strict=True)]


def is_real_time(texts: list[str]) -> bool:
    """Return whether an expression of these five texts runs in real time: its minute or hour begins with `*`."""
    return texts[0].startswith("*") or texts[1].startswith("*")


def warnings(expression: str) -> list[str]:
    """Return what is probably not meant: steps that lead out of their range at once. Raise BadSchedule."""
    return [
        warning
        for field, text in zip(FIELDS, _split(expression), strict=True)
        for element in text.split(",")
        if (warning := _step_warning(field, element)) is not None
    ]


def _step_warning(field: Field, element: str) -> str | None:
    values = _parse_element(field, element)
    base, _, step = element.partition("/")
    first, last = _parse_bounds(field, base, stepped=bool(step))
    if last == first or values.step <= last - first + 1:
        return None
    return (
        f'The step of "{element}" in the cron {field.name} field is longer than what it steps through, which ends '
        f"at {last}: it means {first} alone, and not every {values.step}"
    )


def _split(expression: str) -> list[str]:
    if len(expression) > LONGEST_EXPRESSION:
        raise BadSchedule(f"Cron expression must have at most {LONGEST_EXPRESSION} characters, got {len(expression)}")
    if not expression.isascii():
        raise BadSchedule(f'Cron expression must be ASCII: "{expression}"')
    texts = expression.split()
    if len(texts) != len(FIELDS):
        raise BadSchedule(f'Cron expression must have exactly 5 fields, got {len(texts)}: "{expression}"')
    return texts


def _parse_values(field: Field, text: str) -> set[int]:
    return set(chain.from_iterable(_parse_element(field, element) for element in text.split(",")))


def _parse_element(field: Field, element: str) -> range:
    if not element:
        raise BadSchedule(f"Empty element in cron {field.name} field")
    base, slash, step = element.partition("/")
    if slash and not (step.isdigit() and int(step)):
        raise BadSchedule(f'Invalid step "{step}" in cron {field.name} field')
    first, last = _parse_bounds(field, base, stepped=bool(slash))
    return range(first, last + 1, int(step or 1))


def _parse_bounds(field: Field, base: str, *, stepped: bool) -> tuple[int, int]:
    if base == "*":
        return field.low, field.reach
    start, dash, end = base.partition("-")
    first = _parse_number(field, start, base)
    if not dash:
        return first, max(first, field.reach) if stepped else first
    last = _parse_number(field, end, base)
    if first > last and end.upper() == SUNDAY:
        last = field.high
    if first > last:
        raise BadSchedule(f"Invalid range {base} in cron {field.name} field (start > end)")
    return first, last


def _parse_number(field: Field, text: str, base: str) -> int:
    if text.upper() in field.names:
        return field.low + field.names.index(text.upper())
    if not text.isdigit():
        raise BadSchedule(f'Invalid value "{base}" in cron {field.name} field')
    if not field.low <= int(text) <= field.high:
        raise BadSchedule(f"Value {int(text)} out of range [{field.low}–{field.high}] for cron {field.name} field")  # noqa: RUF001
    return int(text)
