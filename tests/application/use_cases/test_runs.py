import pytest

from application.event_store.stream_kinds import ISSUE, RUN
from application.request_bodies import ApiDraft, ProjectDraft, RoutinePatch, RunRequest, TriggerPatch, VariableDraft
from application.use_cases import routines, runs, triggers
from application.use_cases.board import agents, projects
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.events import AgentCreated, IssueOpened, RunFired, TriggerMissed
from domain.identity import FIRST_USER, issue_of_run, run_of_occurrence
from domain.routines.firing import NOT_INVOKABLE, PROJECT_PAUSED
from domain.values import Coalesced, Failed, Opened, Skipped
from tests.application.use_cases.installation import HOUR, MINUTE


def outcomes(here):
    return [event.outcome for event in here.events(RunFired)]


def hour(here):
    return here.now.replace(minute=0, second=0)


def test_a_run_opens_an_issue_for_the_agent_in_the_name_of_who_fired_it(here):
    run = here.fire(here.routine(title="For {{who}}", variables=(VariableDraft(name="who"),)), variables={"who": "Zo"})

    issue = here.state(ISSUE, issue_of_run(run))
    assert ("For Zo", here.agent, "todo") == (issue.details.title, issue.details.assignee_agent_id, issue.status)
    assert [FIRST_USER] == [event.created_by_user_id for event in here.events(IssueOpened)]


@pytest.mark.parametrize(
    ("policy", "second"),
    [("coalesce_if_active", Coalesced), ("skip_if_active", Skipped), ("always_enqueue", Opened)],
)
def test_while_an_issue_is_open_the_policy_says_what_becomes_of_the_next_run(here, policy, second):
    routine = here.routine(concurrency_policy=policy)
    first = here.fire(routine)
    here.fire(routine)
    assert [Opened, second] == list(map(type, outcomes(here)))

    here.finish(first)
    if policy != "always_enqueue":
        here.fire(routine)
        assert Opened is type(outcomes(here)[-1])


def test_the_same_idempotency_key_gives_the_same_run(here):
    routine = here.routine(concurrency_policy="always_enqueue")

    first, again, other = (here.fire(routine, idempotency_key=key) for key in ("a", "a", "b"))

    assert first == again != other
    assert 2 == len(here.events(IssueOpened))


def test_a_variable_that_is_required_and_missing_is_refused_by_hand(here):
    routine = here.routine(title="For {{who}}", variables=(VariableDraft(name="who"),))

    with pytest.raises(RuleViolation, match="who"):
        here.fire(routine)


def test_a_routine_that_nobody_works_for_or_that_is_archived_does_not_run(here):
    with pytest.raises(RuleViolation, match="Default agent required"):
        here.fire(here.routine(assignee_agent_id=None))
    archived = here.routine()
    here.ask(routines.update, archived, RoutinePatch(status="archived"))
    with pytest.raises(Conflict):
        here.fire(archived)


def test_agents_fire_their_own_routines_for_themselves(here):
    agent, rover = here.as_agent(), here.another_agent()
    routine = here.routine()

    here.ask(runs.fire_by_hand, routine, RunRequest(), caller=agent)
    with pytest.raises(Forbidden, match="to themselves"):
        here.ask(runs.fire_by_hand, routine, RunRequest(assignee_agent_id=rover), caller=agent)
    with pytest.raises(Forbidden, match="assigned to themselves"):
        here.ask(runs.fire_by_hand, routine, RunRequest(), caller=here.as_agent(rover))


def test_a_trigger_that_is_named_is_the_routines_own_and_enabled(here):
    routine = here.routine()
    trigger = here.ask(triggers.create, routine, ApiDraft()).trigger_id
    by_code = {"source": "api", "trigger_id": trigger}

    here.fire(routine, **by_code)
    with pytest.raises(Forbidden, match="does not belong"):
        here.fire(here.routine(), **by_code)
    here.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    with pytest.raises(Conflict):
        here.fire(routine, **by_code)
    here.ask(triggers.delete, trigger)
    with pytest.raises(NotFound):
        here.fire(routine, **by_code)


def test_an_occurrence_is_settled_once_whoever_comes_second(here):
    trigger = here.schedule(here.routine())
    here.passes(HOUR)
    row = here.due(trigger, hour(here))

    assert [1, 0] == [here.carry_out(runs.fire_due, [row]) for _ in range(2)]
    assert here.state(RUN, run_of_occurrence(trigger, hour(here))) is not None


def test_what_is_too_late_is_missed_and_one_event_says_so(here):
    trigger = here.schedule(here.routine())
    first = hour(here) + HOUR
    here.passes(4 * HOUR)

    here.carry_out(runs.fire_due, [here.due(trigger, first)])

    assert [3] == [event.count for event in here.events(TriggerMissed)]
    assert 1 == len(here.events(RunFired))


def test_nothing_fires_while_the_routine_is_paused_and_what_waited_is_missed_when_it_is_archived(here):
    routine = here.routine()
    trigger = here.schedule(routine)
    here.passes(HOUR)
    row = here.due(trigger, hour(here))
    here.ask(routines.update, routine, RoutinePatch(status="paused"))

    assert 0 == here.carry_out(runs.fire_due, [row])
    here.ask(routines.update, routine, RoutinePatch(status="archived"))

    assert [] == outcomes(here)
    assert ["archived"] == [event.reason for event in here.events(TriggerMissed)]


def test_a_scheduled_run_that_cannot_open_an_issue_says_why(here):
    project = here.ask(projects.create, here.company, ProjectDraft(name="Moon"))
    paused, asleep = here.routine(project_id=project), here.routine(assignee_agent_id=here.another_agent())
    vague = here.routine(title="For {{who}}", variables=(VariableDraft(name="who", default_value="all"),))
    rows = [here.schedule(routine) for routine in (paused, asleep, vague)]
    here.ask(projects.pause, project)
    here.ask(agents.pause, here.ids(AgentCreated)[-1], "holiday")
    here.passes(HOUR)

    here.carry_out(runs.fire_due, [here.due(trigger, hour(here)) for trigger in rows])

    assert [PROJECT_PAUSED, Failed(reason=NOT_INVOKABLE), Opened] == [
        outcome if not isinstance(outcome, Opened) else Opened for outcome in outcomes(here)
    ]


def test_what_cannot_be_carried_out_is_recorded_as_failed_and_the_schedule_goes_on(here):
    trigger = here.schedule(here.routine())
    here.passes(HOUR)
    row = here.due(trigger, hour(here))

    assert [1, 0] == [here.carry_out(runs.fail_due, [row], "it breaks") for _ in range(2)]

    [fired] = here.events(RunFired)
    assert fired.outcome == Failed(reason="The occurrence could not be carried out: it breaks")
    assert hour(here) + HOUR == fired.next_at
    assert here.now - fired.occurrence < MINUTE
