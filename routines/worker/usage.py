"""What a command says that it has used: in the JSON object that it prints, in our words or in those of Claude Code."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

MICROS = 1_000_000
MOST = 10**15  # the largest number that the server accepts for each of them

Count = Annotated[int, Meta(ge=0, le=MOST)]


class UsageMember(msgspec.Struct, frozen=True):
    """The member `usage`: costMicros, inputTokens and outputTokens, or the names that Claude Code gives its tokens."""

    costMicros: Count | None = None  # noqa: N815 as in the API
    inputTokens: Count | None = None  # noqa: N815
    outputTokens: Count | None = None  # noqa: N815
    input_tokens: Count | None = None
    output_tokens: Count | None = None


class PrintedOutput(msgspec.Struct, frozen=True):
    """The parts of a command's output that say what it has used."""

    usage: UsageMember | None = None
    total_cost_usd: Decimal | None = None


def usage_of(output: str, earlier: Mapping[str, int | None]) -> dict[str, int] | None:
    """
    Return the usage that a printed JSON object names, as the server takes it; None if it names none, or a wrong one.

    A report is a total, so what was reported before the command began, of `earlier` attempts, is added to it.
    `total_cost_usd` is read as a decimal number, and rounded up to whole millionths.
    """
    try:
        document = msgspec.json.decode(output, type=PrintedOutput)
    except (ValueError, RecursionError):
        return None
    usage = document.usage or UsageMember()
    cost = usage.costMicros
    if cost is None and (dollars := document.total_cost_usd) is not None and 0 <= dollars <= MOST // MICROS:
        cost = math.ceil(dollars * MICROS)
    report = {
        "costMicros": cost,
        "inputTokens": usage.input_tokens if usage.inputTokens is None else usage.inputTokens,
        "outputTokens": usage.output_tokens if usage.outputTokens is None else usage.outputTokens,
    }
    totals = {
        name: min(number + (earlier.get(name) or 0), MOST) for name, number in report.items() if number is not None
    }
    return totals or None
