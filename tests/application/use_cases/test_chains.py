from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import IntegrityError
from msgspec.structs import replace

from application.event_store.stream_kinds import ISSUE, ROUTINE, RUN, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RoutineDraft, RoutinePatch, VariableDraft
from application.request_bodies.triggers import ChainDraft, TriggerPatch
from application.use_cases import chains, revisions, routines, triggers
from application.use_cases.board import agents, companies, issues
from domain.errors import InvalidField, RuleViolation
from domain.events import CompanyNamed, RoutineCreated, RoutineTriggerAdded, RunFired
from domain.identity import issue_of_run, revision_of, run_of_chain
from domain.routines import chain
from domain.routines.chain import DueChain
from domain.values import Failed, Opened, Skipped, TriggerSettings, TriggerState
from tests.application.use_cases.installation import ECHO


class Collection(NamedTuple):
    name: str
    id: UUID


def names_of(here, name):
    [company] = here.ids(CompanyNamed)
    return Collection(name, company)


def link(here, routine, after, **fields):
    return here.ask(triggers.create, routine, ChainDraft(after_routine_id=after, **fields)).trigger_id


def due(here, trigger, cause):
    return DueChain(id=run_of_chain(trigger, cause), trigger_id=trigger, cause_run_id=cause, company_id=here.company)


def carry_on(here, *rows):
    return here.carry_out(chains.fire_due, rows)


def last(here):
    return here.events(RunFired)[-1]


def test_the_end_of_a_run_fires_the_next_routine_with_its_outputs(here):
    fetch = here.routine(title="Fetch")
    title = "Write {{articles}} after {{payload.run.routineTitle}} had {{payload.outputs.articles}}"
    write = here.routine(title=title, variables=(VariableDraft(name="articles"),))
    trigger, cause = link(here, write, fetch), here.fire(fetch)
    here.ask(issues.update, issue_of_run(cause), IssuePatch(status="done", outputs={"articles": 3}), None)

    assert 1 == carry_on(here, due(here, trigger, cause))

    fired, run = last(here), run_of_chain(trigger, cause)
    assert ("chain", trigger, cause, 1) == (fired.source, fired.trigger_id, fired.cause_run_id, fired.chain_depth)
    assert Opened(issue_id=issue_of_run(run)) == fired.outcome
    assert "Write 3 after Fetch had 3" == here.state(ISSUE, issue_of_run(run)).details.title
    told = {"id": str(cause), "routineId": str(fetch), "routineTitle": "Fetch", "status": "completed"}
    assert {
        "run": told | {"failureReason": None},
        "outputs": {"articles": 3},
        "variables": {"articles": "3"},
    } == fired.payload


def test_the_payload_says_why_the_run_before_failed(here):
    fetch, mourn = here.routine(), here.routine(title="Look why")
    trigger, cause = link(here, mourn, fetch, after_outcome="failed"), here.fire(fetch)
    failure = IssuePatch(status="cancelled", failure_reason="exit status 3")
    here.ask(issues.update, issue_of_run(cause), failure, None)

    carry_on(here, due(here, trigger, cause))

    run = last(here).payload["run"]
    assert ("failed", "exit status 3") == (run["status"], run["failureReason"])


def test_the_outputs_of_a_task_go_on_by_step(here):
    org = names_of(here, here.collection()[0])
    here.task_routine(here.task(org.name, workflow=ECHO))
    [calls] = [id_ for id_ in here.ids(RoutineCreated) if here.state(ROUTINE, id_).settings.call]
    agent = here.another_agent(org.id)
    write = here.ask(routines.create, org.id, RoutineDraft(title="Write", assignee_agent_id=agent))
    trigger, cause = link(here, write, calls), here.fire(calls)

    carry_on(here, replace(due(here, trigger, cause), company_id=org.id))

    assert {"say": {"text": "hello"}} == last(here).payload["outputs"]


def test_a_chain_fires_once_however_often_it_is_tried(here):
    fetch, write = here.routine(), here.routine()
    trigger, cause = link(here, write, fetch), here.fire(fetch)
    here.finish(cause)
    row = due(here, trigger, cause)

    assert [1, 0, 0] == [carry_on(here, row) for _ in range(3)]


def test_two_schedulers_that_carry_on_the_same_chain_record_it_once(here):
    fetch, write = here.routine(), here.routine()
    trigger, cause = link(here, write, fetch), here.fire(fetch)
    here.finish(cause)
    one, other = UnitOfWork(here.store, here.now), UnitOfWork(here.store, here.now)
    for work in (one, other):
        assert 1 == chains.fire_due(work, [due(here, trigger, cause)])

    one.commit()
    with pytest.raises(IntegrityError):
        other.commit()

    assert 1 == sum(event.source == "chain" for event in here.events(RunFired))


def pause(here, write, _trigger):
    here.ask(routines.update, write, RoutinePatch(status="paused"))


def archive(here, write, _trigger):
    here.ask(routines.update, write, RoutinePatch(status="archived"))


def archive_company(here, _write, _trigger):
    here.ask(companies.archive, here.company)


def disable(here, _write, trigger):
    here.ask(triggers.update, trigger, TriggerPatch(enabled=False))


def delete(here, _write, trigger):
    here.ask(triggers.delete, trigger)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (pause, "routine_paused"),
        (archive, "routine_archived"),
        (archive_company, "company_archived"),
        (disable, "trigger_disabled"),
        (delete, "trigger_deleted"),
    ],
)
def test_what_keeps_the_next_routine_from_running_is_on_the_record(here, stop, reason):
    fetch, write = here.routine(), here.routine()
    trigger, cause = link(here, write, fetch), here.fire(fetch)
    here.finish(cause)
    stop(here, write, trigger)

    assert 1 == carry_on(here, due(here, trigger, cause))

    assert (Skipped(reason=reason), cause) == (last(here).outcome, last(here).cause_run_id)


def test_a_missing_variable_or_a_paused_agent_fails_the_next_run_with_the_reason(here):
    fetch, write = here.routine(), here.routine(title="Write {{articles}}")
    trigger, cause = link(here, write, fetch), here.fire(fetch)
    here.finish(cause)

    carry_on(here, due(here, trigger, cause))

    assert Failed(reason="Missing routine variables: articles") == last(here).outcome
    other = here.routine()
    trigger, cause = link(here, other, fetch), here.fire(fetch)
    here.finish(cause)
    here.ask(agents.pause, here.agent, "holiday")
    carry_on(here, due(here, trigger, cause))
    assert isinstance(last(here).outcome, Failed)


def test_a_chain_that_cannot_be_carried_on_is_given_up_as_a_failed_run(here):
    fetch, write = here.routine(), here.routine()
    trigger, cause = link(here, write, fetch), here.fire(fetch)
    here.finish(cause)

    assert 1 == here.carry_out(chains.fail_due, [due(here, trigger, cause)], reason="Oversized")

    assert Failed(reason="The chain could not be carried on: Oversized") == last(here).outcome


def test_a_chain_ends_after_so_many_runs(here):
    """Links cannot be a cycle; but a link that is changed while a chain runs can make it longer and longer."""
    one, other = here.routine(concurrency_policy="always_enqueue"), here.routine(concurrency_policy="always_enqueue")
    trigger, cause = link(here, other, one), here.fire(one)
    for _ in range(chain.MAX_DEPTH + 1):
        here.finish(cause)
        carry_on(here, due(here, trigger, cause))
        cause = run_of_chain(trigger, cause)

    depths = [event.chain_depth for event in here.events(RunFired)]
    assert list(range(chain.MAX_DEPTH + 2)) == depths
    assert Skipped(reason="chain_too_long") == last(here).outcome


def test_a_cycle_is_refused_however_long_it_is(here):
    first, second, third = (here.routine() for _ in range(3))
    link(here, second, first)
    trigger = link(here, third, second, enabled=False)

    for routine, after in ((first, first), (first, second), (first, third)):
        with pytest.raises(RuleViolation, match="would be a cycle"):
            link(here, routine, after)
    with pytest.raises(RuleViolation, match="would be a cycle"):
        here.ask(triggers.update, trigger, TriggerPatch(after_routine_id=third))


def test_a_restored_revision_may_not_close_a_cycle(here):
    first, second = here.routine(), here.routine()
    trigger = link(here, second, first)
    here.ask(triggers.delete, trigger)
    link(here, first, second)

    with pytest.raises(RuleViolation, match="would be a cycle"):
        here.ask(revisions.restore, second, revision_of(second, 2))


def test_two_links_that_together_are_a_cycle_cannot_both_be_recorded(here):
    first, second = here.routine(), here.routine()
    works = [UnitOfWork(here.store, here.now) for _ in range(2)]
    for work, (routine, after) in zip(works, ((first, second), (second, first)), strict=True):
        settings = TriggerSettings(after_routine_id=after, after_outcome="any")
        chains.must_be_linkable(work, routine, settings)
        state = TriggerState(kind="chain", settings=settings)
        work.record(routine, [RoutineTriggerAdded(trigger_id=uuid4(), kind="chain", state=state)])

    works[0].commit()
    with pytest.raises(IntegrityError):
        works[1].commit()


def test_a_deleted_link_comes_back_with_a_restored_revision(here):
    fetch, write = here.routine(), here.routine()
    trigger = link(here, write, fetch, after_outcome="any")
    here.ask(triggers.delete, trigger)

    here.ask(revisions.restore, write, revision_of(write, 2))

    state = here.state(TRIGGER, trigger)
    assert (False, fetch, "any") == (state.deleted, state.settings.after_routine_id, state.settings.after_outcome)


def test_a_routine_of_another_company_or_of_none_is_not_there(here):
    mine, other = here.routine(), here.other_company()
    theirs = here.ask(routines.create, other, RoutineDraft(title="Theirs"))

    for after in (theirs, uuid4(), here.agent):
        with pytest.raises(InvalidField, match="There is no such routine in the company"):
            link(here, mine, after)


def test_only_chains_have_the_fields_of_a_chain(here):
    routine, after = here.routine(), here.routine()
    trigger = here.schedule(routine)

    with pytest.raises(RuleViolation, match="Only chain triggers"):
        here.ask(triggers.update, trigger, TriggerPatch(after_routine_id=after))


def test_outputs_are_those_of_a_run(here):
    with pytest.raises(InvalidField, match="outputs is only for an issue that a run opened"):
        here.ask(issues.update, here.issue(), IssuePatch(outputs={"a": 1}), None)
    run = here.fire(here.routine())
    here.ask(issues.update, issue_of_run(run), IssuePatch(outputs={"a": 1}), None)
    here.ask(issues.update, issue_of_run(run), IssuePatch(outputs={"b": 2}, status="done"), None)

    assert {"b": 2} == here.state(RUN, run).report.outputs
