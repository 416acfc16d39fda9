"""A firing: its texts, its outcome, and the facts about run, issue and slot (contract 2.2, 2.3, 5.2 to 5.4)."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.board import agent as agents
from domain.errors import RuleViolation
from domain.events import AgentCreated, AgentPaused, AgentTerminated, IssueOpened, RoutineCreated, RunFired, SlotTaken
from domain.identity import issue_of_run
from domain.routines import firing
from domain.routines import routine as routines
from domain.routines.firing import FiringRequest, RenderedTemplate
from domain.routines.slot import EMPTY, Slot
from domain.values import (
    AgentProfile,
    Coalesced,
    Failed,
    IssueDetails,
    LiveWork,
    Opened,
    RetryPolicy,
    RoutineSettings,
    Skipped,
    Variable,
    Workspace,
)
from tests.given import given

ROUTINE, RUN, AGENT, PROJECT, GOAL, PARENT, USER = (UUID(int=n) for n in range(1, 8))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SETTINGS = RoutineSettings(
    title="Check the inbox", assignee_agent_id=AGENT, goal_id=GOAL, parent_issue_id=PARENT, priority="high"
)
CREATED = AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout")
IDLE = given(agents.evolve, CREATED)
LIVE = LiveWork(issue_id=UUID(int=20), run_id=UUID(int=21))
ASKED = FiringRequest(
    run_id=RUN,
    routine_id=ROUTINE,
    source="manual",
    assignee_agent_id=AGENT,
    project_id=PROJECT,
    rendered=RenderedTemplate(title="Check the inbox", description=""),
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
        given(agents.evolve, replace(CREATED, status="pending_approval")),
    ],
    ids=["paused", "pending"],
)
def test_an_agent_that_takes_no_work_gets_no_issue(agent):
    assert firing.outcome(ASKED, routine(), agent, None) == Failed(reason="Agent is not invokable in its current state")


@pytest.mark.parametrize("newest", [None, LiveWork(issue_id=UUID(int=8), run_id=UUID(int=9))])
def test_a_terminated_agent_fails_the_firing_whatever_is_live(newest):
    terminated = given(agents.evolve, CREATED, AgentTerminated())

    assert firing.outcome(ASKED, routine(), terminated, newest) == Failed(reason=firing.TERMINATED)


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
        slot=(SlotTaken(routine_id=ROUTINE, live=LiveWork(issue_id=issue_of_run(RUN), run_id=RUN)),),
    )


def test_the_overrides_of_a_firing_win_over_the_routine():
    request = replace(ASKED, assignee_agent_id=UUID(int=30), project_id=None)

    details = firing.facts(request, routine(), EMPTY, Opened(issue_id=issue_of_run(RUN))).issue.details

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
    facts = firing.facts(
        ASKED, routine(retry_policy=RetryPolicy(max_attempts=2, backoff_seconds=60)), Slot(live=(LIVE,)), outcome
    )

    assert (facts.run.outcome, facts.issue, facts.slot) == (outcome, None, ())
    assert facts.run.retry is None, "there is nothing to try again"


def test_a_scheduled_run_names_its_trigger_its_planned_moment_and_the_next():
    request = replace(
        ASKED, source="schedule", trigger_id=UUID(int=40), occurrence=NOON, next_at=NOON.replace(hour=13), user_id=None
    )

    facts = firing.facts(request, routine(), EMPTY, Opened(issue_id=issue_of_run(RUN)))

    assert (facts.run.trigger_id, facts.run.occurrence, facts.run.next_at) == (
        UUID(int=40),
        NOON,
        NOON.replace(hour=13),
    )
    assert (facts.issue.created_by_user_id, facts.issue.created_by_agent_id) == (None, None)


# What is filled in


def test_the_texts_of_a_routine_without_variables_are_its_title_and_description():
    assert firing.render(SETTINGS, [], NOON) == RenderedTemplate(title="Check the inbox", description="")
    assert firing.render(replace(SETTINGS, description="d"), [], NOON).description == "d"


def test_the_first_value_that_is_given_is_filled_in_then_the_default():
    """Contract 2.3."""
    declared = [Variable(name="who", default_value="nobody"), Variable(name="day", type="date", required=False)]
    settings = replace(SETTINGS, title="For {{who}}", description="On {{ day }}, {{who}}", variables=tuple(declared))

    nearest = firing.render(settings, [{"who": "Zo"}, {"who": "Al", "day": "2026-11-22"}], NOON)
    by_default = firing.render(settings, [{}, {"who": None}], NOON)

    assert nearest == RenderedTemplate(
        title="For Zo", description="On 2026-11-22, Zo", variables={"who": "Zo", "day": "2026-11-22"}
    )
    assert by_default == RenderedTemplate(title="For nobody", description="On , nobody", variables={"who": "nobody"})


def test_the_date_and_the_time_of_the_firing_need_no_declaration_and_are_no_values_of_the_run():
    filled = firing.render(replace(SETTINGS, title="{{date}}: {{timestamp}}"), [{"date": "ignored"}], NOON)

    assert filled == RenderedTemplate(title="2026-11-22: November 22, 2026 at 12:00 PM UTC", description="")


def test_an_optional_variable_without_a_value_is_empty_text_and_an_empty_title_stays_as_it_is_written():
    settings = replace(SETTINGS, title="{{a}} ", description="[{{a}}]", variables=(Variable(name="a", required=False),))

    assert firing.render(settings, [], NOON) == RenderedTemplate(title="{{a}} ", description="[]")


def test_paths_into_the_payload_are_filled_in():
    settings = replace(SETTINGS, title="Look at {{payload.repository.full_name}}", description="{{payload.gone}}.")

    filled = firing.render(settings, [], NOON, payload={"repository": {"full_name": "acme/x"}})

    assert filled == RenderedTemplate(title="Look at acme/x", description=".")
    assert firing.render(settings, [], NOON).title == "Look at "


def test_a_required_variable_without_a_value_stops_the_firing():
    settings = replace(SETTINGS, variables=(Variable(name="a"), Variable(name="b")))

    with pytest.raises(RuleViolation, match="Missing routine variables: a, b"):
        firing.render(settings, [{"a": " "}], NOON)


def test_what_cannot_be_filled_in_fails_whatever_the_policy_and_the_agent():
    failed = Failed(reason="Missing routine variables: a")
    request = replace(ASKED, rendered=failed)

    assert firing.outcome(request, routine(), IDLE, LIVE) == failed
    assert firing.outcome(request, routine(), None, None) == failed
    assert firing.facts(request, routine(), EMPTY, failed) == firing.Facts(
        run=RunFired(
            routine_id=ROUTINE, revision=1, source="manual", outcome=failed, idempotency_key="k", payload={"a": 1}
        ),
        issue=None,
        slot=(),
    )


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (None, {"variables": {"who": "Zo"}}),
        ({}, {"variables": {"who": "Zo"}}),
        ({"a": 1, "variables": {"b": 2, "who": 3}}, {"a": 1, "variables": {"b": 2, "who": "Zo"}}),
        ({"variables": "none"}, {"variables": {"who": "Zo"}}),
    ],
)
def test_a_run_keeps_its_payload_and_in_it_the_values(payload, expected):
    """Contract 2.3."""
    request = replace(ASKED, payload=payload, rendered=replace(ASKED.rendered, variables={"who": "Zo"}))

    assert firing.facts(request, routine(), EMPTY, Opened(issue_id=issue_of_run(RUN))).run.payload == expected


@pytest.mark.parametrize("payload", [None, {}, {"variables": {"undeclared": 1}}])
def test_without_values_the_payload_is_kept_as_it_is(payload):
    request = replace(ASKED, payload=payload)

    assert firing.facts(request, routine(), EMPTY, Opened(issue_id=issue_of_run(RUN))).run.payload == payload


def test_a_run_that_a_paused_project_suppressed_keeps_no_payload():
    """Contract 4.2."""
    request = replace(ASKED, payload=None, rendered=replace(ASKED.rendered, variables={"who": "Zo"}))

    assert firing.facts(request, routine(), EMPTY, firing.PROJECT_PAUSED).run.payload is None


def test_an_issue_says_where_the_agent_is_to_work():
    """Contract 5.1."""
    there = Workspace(id=UUID(int=50), preference="shared", settings={"a": [1]}, project_workspace_id=UUID(int=51))

    facts = firing.facts(replace(ASKED, workspace=there), routine(), EMPTY, Opened(issue_id=issue_of_run(RUN)))

    assert facts.issue.workspace == there


# How much of it there may be


@pytest.mark.parametrize("value", ["x", '"', "\x01", "é", "\U0001f600", "{{date}}"])
def test_a_small_value_that_a_template_repeats_is_refused_before_it_is_made(value):
    settings = replace(SETTINGS, description="{{a}}" * 16_000, variables=(Variable(name="a"),))

    with pytest.raises(RuleViolation, match="The variables of a run may add at most 262144 bytes to it, and add"):
        firing.render(settings, [{"a": value * 62}], NOON, 256 * 1024)


def test_a_long_template_without_values_is_never_too_long():
    settings = replace(SETTINGS, description="\U0001f600" * 100_000)

    assert firing.render(settings, [], NOON, 1).description == settings.description


def test_a_title_that_grows_too_long_is_cut_and_stands_whole_in_the_description():
    settings = replace(SETTINGS, title="For {{who}}", description="Hello", variables=(Variable(name="who"),))

    rendered = firing.render(settings, [{"who": "x" * 200}], NOON)

    assert (200, "For x", "\N{HORIZONTAL ELLIPSIS}") == (len(rendered.title), rendered.title[:5], rendered.title[-1])
    assert f"For {'x' * 200}\n\nHello" == rendered.description
    assert (
        f"For {'x' * 200}" == firing.render(replace(settings, description=None), [{"who": "x" * 200}], NOON).description
    )
    assert "Hello" == firing.render(settings, [{"who": "x" * 196}], NOON).description


PIECES = st.lists(st.sampled_from(["{{a}}", "{{ b }}", "{{date}}", "x", '"', "\x01", "\U0001f600"]), max_size=200).map(
    "".join
)


@for_all(PIECES, PIECES, st.dictionaries(st.sampled_from("ab"), st.text(max_size=300)))
def test_whatever_the_template_and_its_values_what_is_recorded_is_within_the_bound(title, description, values):
    most = 2_000
    settings = replace(
        SETTINGS,
        title=title,
        description=description,
        variables=tuple(Variable(name=name, required=False) for name in "ab"),
    )
    try:
        rendered = firing.render(settings, [values], NOON, most)
    except RuleViolation:
        return

    template = len(msgspec.json.encode([title, description]))
    recorded = len(msgspec.json.encode([rendered.title, rendered.description])) + len(
        msgspec.json.encode(rendered.variables)
    )
    assert len(rendered.title) <= 200
    assert recorded <= template + most + len(msgspec.json.encode(rendered.title)) + 10  # what a cut title leaves


def test_a_reason_of_any_length_is_cut():
    assert 1_000 == len(firing.refused_outcome(RuleViolation("x" * 5_000)).reason)
    assert "short" == firing.refused_outcome(RuleViolation("short")).reason
