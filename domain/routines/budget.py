"""
A budget: what the runs of a routine, an agent or a company may cost within a window of time.

Amounts are whole millionths of the currency in which the installation counts. A run counts from its newest report on.
"""

from datetime import datetime, timedelta
from typing import Literal

from domain.values import Budget, OverBudget, Skipped, Value

Owner = Literal["routine", "agent", "company"]
OVER_BUDGET = "over_budget"  # the reason for which a firing is skipped
MICROS = 1_000_000
LONGEST_WINDOW_S = 31 * 86_400


class WindowSpending(Value, frozen=True):
    """What was spent within a window, and when that was reported with which, counted from the newest, the cap is reached."""

    micros: int = 0
    reached_at: datetime | None = None


def find_excess(owner: Owner, budget: Budget, spending: WindowSpending) -> OverBudget | None:
    """Return what a firing beyond the budget rests on; None while less is spent than the budget allows."""
    if spending.micros < budget.max_cost_micros:
        return None
    window = timedelta(seconds=budget.window_sec)
    return OverBudget(
        owner=owner,
        spent_micros=spending.micros,
        max_cost_micros=budget.max_cost_micros,
        window_sec=budget.window_sec,
        frees_at=None if spending.reached_at is None else spending.reached_at + window,
    )


def skip_over_budget(exceeded_budget: OverBudget) -> Skipped:
    """Return the outcome of a firing beyond a budget."""
    return Skipped(reason=OVER_BUDGET, budget=exceeded_budget)


def amount(micros: int) -> str:
    """Return an amount in words: without its trailing zeros, but with two decimals."""
    whole, rest = divmod(micros, MICROS)
    return f"{whole}.{f'{rest:06}'.rstrip('0'):0<2}"
