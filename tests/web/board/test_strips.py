from uuid import UUID

import pytest

from domain.explain.verdicts import LIVE_ISSUE
from domain.routines import activity_gate, budget, probe
from projections.overview import Bar
from web.board import strips
from web.board.strips import Loss

RAN, JOINED = ("completed", None), ("coalesced", None)
OVER_BUDGET = ("skipped", budget.OVER_BUDGET)


def draw_strip(*runs):
    return strips.draw([Bar(UUID(int=number), status, reason, None) for number, (status, reason) in enumerate(runs)])


def test_runs_that_met_an_open_issue_have_that_for_their_reason():
    assert Loss(3, "coalesced", LIVE_ISSUE) == draw_strip(RAN, JOINED, ("skipped", None), JOINED).loss


def test_runs_that_were_lost_for_several_reasons_are_told_without_one():
    loss = draw_strip(JOINED, OVER_BUDGET, OVER_BUDGET, RAN).loss

    assert Loss(3, "skipped", None) == loss
    assert not loss.is_by_live_issue


@pytest.mark.parametrize("reason", [activity_gate.QUIET, probe.FAILED])
def test_what_a_condition_of_the_routine_has_kept_from_running_is_not_lost(reason):
    assert draw_strip(RAN, *[("skipped", reason)] * 9).loss is None


def test_less_than_half_of_the_runs_or_few_runs_say_nothing():
    assert draw_strip(RAN, RAN, RAN, JOINED, JOINED).loss is None
    assert draw_strip(JOINED, JOINED, JOINED).loss is None
