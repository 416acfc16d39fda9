"""What the APIs say of a wrong field, as a sentence for whoever fills in a form: they speak of types to programs."""

import re
from collections.abc import Callable, Collection, Sequence

from web.board import words

FILL_IN = "This has to be filled in."
OPTION = re.compile(r"'([^']*)'")


def _choose(match: re.Match[str]) -> str:
    return f"Choose one of these: {', '.join(OPTION.findall(match[1]))}."


def _expected_kinds(match: re.Match[str]) -> str:
    kinds = {"integer": "Write a whole number.", "number": "Write a number.", "boolean": "Write true or false."}
    return kinds.get(match[1]) or (_choose(match) if "'" in match[1] else f"This is no {match[1]}.")


def _length(match: re.Match[str]) -> str:
    number = int(match[2])
    return (
        FILL_IN
        if (match[1], number) == ("least", 1)
        else f"Write at {match[1]} {words.count_noun(number, 'character')}."
    )


SENTENCES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), sentence)
    for pattern, sentence in (
        (r"(?:Required|is required|\w+ is required for \w+ cadence)", FILL_IN),
        (r"Invalid (?:enum|discriminator) value\. Expected (.*?)(?:, received '.*')?", _choose),
        (r"Expected (.*), received \w+", _expected_kinds),
        (r"String must contain at (least|most) (\d+) character\(s\)", _length),
        (r"Array must contain at (least|most) (\d+) element\(s\)", r"Give at \1 \2."),
        (r"Number must be greater than or equal to (\S+)", r"Write a number that is not below \1."),
        (r"Number must be less than or equal to (\S+)", r"Write a number that is not above \1."),
        (r"Invalid uuid", "This is no id."),
        (r"Invalid datetime: .*", "This is no time: write it like 2026-11-30 09:00."),
        (r"Invalid date: .*", "This is no date: write it like 2026-11-30."),
        (r"Invalid|must match .*", "Some of these characters may not stand here, or not in this order."),
        (r".*Invalid timezone: .*", "There is no such zone: use a name such as Europe/Amsterdam."),
        (r"A schedule has a cronExpression or a runAt, not both", "Give a cron expression or one time, not both."),
        (r"endsAt must not be before startsAt", "This is before the moment at which it begins."),
        (
            r"(?:triggers\[0\]: )?Scheduled routines require defaults for required variables: (.*)",
            r"A routine with a schedule needs a default for each required variable: \1.",
        ),
        (r"activityGateScope project requires projectId", "Choose the project in which activity counts."),
        (r"(?:\w+ )?(agent|folder|goal|issue|project) not found", r"This \1 is not there any more."),
        (r"The character U\+0000 is not allowed.*", "A character in it, U+0000, cannot be stored."),
        (r"env\.\S+: the company's environment has no variable '(.*)'", r"The company has no variable \1."),
        (
            r"\w+ has a name that is not 1 to 128 letters, digits and underscores, beginning with no digit: (.*)",
            r"Write 1 to 128 letters, digits and underscores, beginning with no digit, in place of \1.",
        ),
        (r"Invalid input", "This is not read as anything that may stand here."),
    )
)


# Which field of a form a message speaks of that names none: the first of these that the form has.
FIELDS: tuple[tuple[re.Pattern[str], Sequence[str]], ...] = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), fields)
    for pattern, fields in (
        ("Assignee agent not found", ("assigneeAgentId",)),
        ("Lead agent not found", ("leadAgentId",)),
        ("Owner agent not found", ("ownerAgentId",)),
        ("Agent not found", ("reportsTo",)),
        ("Project not found", ("projectId",)),
        ("Goal not found", ("goalId", "parentId")),
        ("(?:Parent )?folder not found", ("folderId", "parentId")),
        ("Parent issue not found", ("parentIssueId", "parentId")),
        ("activityGateScope project requires projectId", ("projectId",)),
        ("endsAt .*", ("endsAt",)),
        (".*cron.*", ("cronExpression",)),
        (".*zone.*", ("timezone",)),
    )
)
NUL = re.compile(r"The character U\+0000 is not allowed \(in (\S+)\)")


def field_of(message: str, fields: Collection[str]) -> str:
    """Return the field, by its path with dots, that a message about a form as a whole speaks of; empty if it speaks of none."""
    if (match := NUL.fullmatch(message)) is not None:
        return match[1]
    meant = (name for pattern, names in FIELDS if pattern.fullmatch(message) for name in names)
    return next((name for name in meant if name in fields), "")


def plain(message: str) -> str:
    """Return the sentence for a message of the APIs; any other text as it is."""
    for pattern, sentence in SENTENCES:
        if (match := pattern.fullmatch(message)) is not None:
            return match.expand(sentence) if isinstance(sentence, str) else sentence(match)
    return message
