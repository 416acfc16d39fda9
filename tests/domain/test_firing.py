"""A firing: its outcome, and the facts about run, issue and slot that belong together (contract 5.2 to 5.4)."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import agent as agents
from domain import firing
from domain import routine as routines
from domain.events import AgentCreated, AgentPaused, AgentTerminated, IssueOpened, RoutineCreated, RunFired, SlotTaken
from domain.firing import Firing
from domain.identity import issue_of_run
from domain.slot import EMPTY, Slot
from domain.values import AgentProfile, Coalesced, Failed, IssueDetails, Live, Opened, RoutineSettings, Skipped
from tests.given import given

ROUTINE, RUN, AGENT, PROJECT, GOAL, PARENT, USER = (UUID(int=n) for n in range(1, 8))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SETTINGS = RoutineSettings(
    title="Check the inbox", assignee_agent_id=AGENT, goal_id=GOAL, parent_issue_id=PARENT, priority="high"
)
CREATED = AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout")
IDLE = given(agents.evolve, CREATED)
LIVE = Live(issue_id=UUID(int=20), run_id=UUID(int=21))
ASKED = Firing(
    run_id=RUN,
    routine_id=ROUTINE,
    source="manual",
    assignee_agent_id=AGENT,
    project_id=PROJECT,
    payload={"a": 1},
    idempotency_key="k",
    user_id=USER,
)


def routine(**changes):
    return given(routines.evolve, RoutineCreated(settings=replace(SETTINGS, **changes)))


def test_a_firing_opens_the_one_issue_of_its_run():
    assert firing.outcome(ASKED, routine(), IDLE, None) == Opened(issue_id=issue_of_run(RUN))


def test_without_an_agent_no_issue_is_opened():
    assert firing.outcome(ASKED, routine(), None, None) == Failed(reason="Default agent required")


@pytest.mark.parametrize(
    "agent",
    [
        given(agents.evolve, CREATED, AgentPaused()),
        given(agents.evolve, CREATED, AgentTerminated()),
        given(agents.evolve, replace(CREATED, status="pending_approval")),
    ],
    ids=["paused", "terminated", "pending"],
)
def test_an_agent_that_takes_no_work_gets_no_issue(agent):
    assert firing.outcome(ASKED, routine(), agent, None) == Failed(reason="Agent is not invokable in its current state")


@pytest.mark.parametrize("agent", [None, IDLE])
def test_a_live_issue_is_met_before_the_agent_is_asked(agent):
    coalesced = firing.outcome(ASKED, routine(), agent, LIVE)
    skipped = firing.outcome(ASKED, routine(concurrency_policy="skip_if_active"), agent, LIVE)

    assert coalesced == Coalesced(issue_id=LIVE.issue_id, into_run_id=LIVE.run_id)
    assert skipped == Skipped(issue_id=LIVE.issue_id, into_run_id=LIVE.run_id)


def test_an_opened_issue_run_and_slot_are_recorded_together():
    opened = Opened(issue_id=issue_of_run(RUN))

    facts = firing.facts(ASKED, routine(), EMPTY, opened)

    assert facts == firing.Facts(
        run=RunFired(
            routine_id=ROUTINE, revision=1, source="manual", outcome=opened, idempotency_key="k", payload={"a": 1}
        ),
        issue=IssueOpened(
            details=IssueDetails(
                title="Check the inbox",
                description="",
                priority="high",
                assignee_agent_id=AGENT,
                project_id=PROJECT,
                goal_id=GOAL,
                parent_id=PARENT,
            ),
            status="todo",
            routine_id=ROUTINE,
            run_id=RUN,
            created_by_user_id=USER,
        ),
        slot=(SlotTaken(routine_id=ROUTINE, live=Live(issue_id=issue_of_run(RUN), run_id=RUN)),),
    )


def test_the_overrides_of_a_firing_win_over_the_routine():
    asked = replace(ASKED, assignee_agent_id=UUID(int=30), project_id=None)

    details = firing.facts(asked, routine(), EMPTY, Opened(issue_id=issue_of_run(RUN))).issue.details

    assert (details.assignee_agent_id, details.project_id) == (UUID(int=30), None)


@pytest.mark.parametrize(
    "outcome",
    [
        Coalesced(issue_id=LIVE.issue_id, into_run_id=LIVE.run_id),
        Skipped(issue_id=LIVE.issue_id, into_run_id=LIVE.run_id),
        Skipped(reason="paused"),
        Failed(reason="Default agent required"),
    ],
)
def test_any_other_outcome_is_a_fact_about_the_run_only(outcome):
    facts = firing.facts(ASKED, routine(), Slot(live=(LIVE,)), outcome)

    assert (facts.run.outcome, facts.issue, facts.slot) == (outcome, None, ())


def test_a_scheduled_run_names_its_trigger_its_planned_moment_and_the_next():
    asked = replace(
        ASKED, source="schedule", trigger_id=UUID(int=40), occurrence=NOON, next_at=NOON.replace(hour=13), user_id=None
    )

    facts = firing.facts(asked, routine(), EMPTY, Opened(issue_id=issue_of_run(RUN)))

    assert (facts.run.trigger_id, facts.run.occurrence, facts.run.next_at) == (
        UUID(int=40),
        NOON,
        NOON.replace(hour=13),
    )
    assert (facts.issue.created_by_user_id, facts.issue.created_by_agent_id) == (None, None)
