"""The bodies about what runs cost: the bound, and what a run has used."""

from typing import Annotated

from msgspec import Meta

from application.request_bodies.fields import Body, Micros, Tokens
from domain.routines.budget import LONGEST_WINDOW_S
from domain.values import Budget


class BudgetDraft(Body, frozen=True):
    """
    Bounds what runs may cost: less than `maxCostMicros` (millionths of a currency unit) within `windowSec` seconds before
    a firing, as it was reported. A firing beyond it is skipped, with the evidence.
    """

    max_cost_micros: Micros
    window_sec: Annotated[int, Meta(ge=60, le=LONGEST_WINDOW_S)]

    def value(self) -> Budget:
        """Return the budget as the domain has it."""
        return Budget(max_cost_micros=self.max_cost_micros, window_sec=self.window_sec)


class UsageReport(Body, frozen=True):
    """
    Says what a run has used so far, in total: a later report replaces an earlier one, and what it does not mention stays.
    `costMicros` is in millionths of a currency unit.
    """

    cost_micros: Micros | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
