from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import IntegrityError
from msgspec.structs import replace

from application.event_store.stream_kinds import ISSUE, ROUTINE, RUN, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import ProjectDraft
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RoutineDraft, RoutinePatch, VariableDraft
from application.request_bodies.triggers import ChainDraft, TriggerPatch
from application.use_cases import chains, revisions, routines, triggers
from application.use_cases.board import agents, companies, issues, projects
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


def names_of(app, name):
    [company] = app.ids(CompanyNamed)
    return Collection(name, company)


def link(app, routine, after, **fields):
    return app.ask(triggers.create, routine, ChainDraft(after_routine_id=after, **fields)).trigger_id


def due_chain(app, trigger, cause):
    return DueChain(id=run_of_chain(trigger, cause), trigger_id=trigger, cause_run_id=cause, company_id=app.company)


def carry_on(app, *rows):
    return app.carry_out(chains.fire_due, rows)


def last(app):
    return app.events(RunFired)[-1]


def test_the_end_of_a_run_fires_the_next_routine_with_its_outputs(app):
    fetch = app.routine(title="Fetch")
    title = "Write {{articles}} after {{payload.run.routineTitle}} had {{payload.outputs.articles}}"
    write = app.routine(title=title, variables=(VariableDraft(name="articles"),))
    trigger, cause = link(app, write, fetch), app.fire(fetch)
    app.ask(issues.update, issue_of_run(cause), IssuePatch(status="done", outputs={"articles": 3}), None)

    assert 1 == carry_on(app, due_chain(app, trigger, cause))

    run_fired, run = last(app), run_of_chain(trigger, cause)
    assert ("chain", trigger, cause, 1) == (
        run_fired.source,
        run_fired.trigger_id,
        run_fired.cause_run_id,
        run_fired.chain_depth,
    )
    assert Opened(issue_id=issue_of_run(run)) == run_fired.outcome
    assert "Write 3 after Fetch had 3" == app.state(ISSUE, issue_of_run(run)).details.title
    expected = {"id": str(cause), "routineId": str(fetch), "routineTitle": "Fetch", "status": "completed"}
    assert {
        "run": expected | {"failureReason": None},
        "outputs": {"articles": 3},
        "variables": {"articles": "3"},
    } == run_fired.payload


def test_the_payload_says_why_the_run_before_failed(app):
    fetch, mourn = app.routine(), app.routine(title="Look why")
    trigger, cause = link(app, mourn, fetch, after_outcome="failed"), app.fire(fetch)
    failure = IssuePatch(status="cancelled", failure_reason="exit status 3")
    app.ask(issues.update, issue_of_run(cause), failure, None)

    carry_on(app, due_chain(app, trigger, cause))

    run = last(app).payload["run"]
    assert ("failed", "exit status 3") == (run["status"], run["failureReason"])


def test_the_outputs_of_a_task_go_on_by_step(app):
    org = names_of(app, app.collection()[0])
    app.task_routine(app.task(org.name, workflow=ECHO))
    [calls] = [id_ for id_ in app.ids(RoutineCreated) if app.state(ROUTINE, id_).settings.call]
    agent = app.another_agent(org.id)
    write = app.ask(routines.create, org.id, RoutineDraft(title="Write", assignee_agent_id=agent))
    trigger, cause = link(app, write, calls), app.fire(calls)

    carry_on(app, replace(due_chain(app, trigger, cause), company_id=org.id))

    assert {"say": {"text": "hello"}} == last(app).payload["outputs"]


def test_a_chain_fires_once_however_often_it_is_tried(app):
    fetch, write = app.routine(), app.routine()
    trigger, cause = link(app, write, fetch), app.fire(fetch)
    app.finish(cause)
    row = due_chain(app, trigger, cause)

    assert [1, 0, 0] == [carry_on(app, row) for _ in range(3)]


def test_two_schedulers_that_carry_on_the_same_chain_record_it_once(app):
    fetch, write = app.routine(), app.routine()
    trigger, cause = link(app, write, fetch), app.fire(fetch)
    app.finish(cause)
    one, other = UnitOfWork(app.store, app.now), UnitOfWork(app.store, app.now)
    for work in (one, other):
        assert 1 == chains.fire_due(work, [due_chain(app, trigger, cause)])

    one.commit()
    with pytest.raises(IntegrityError):
        other.commit()

    assert 1 == sum(event.source == "chain" for event in app.events(RunFired))


def pause(app, write, _trigger):
    app.ask(routines.update, write, RoutinePatch(status="paused"))


def archive(app, write, _trigger):
    app.ask(routines.update, write, RoutinePatch(status="archived"))


def pause_project(app, write, _trigger):
    project = app.ask(projects.create, app.company, ProjectDraft(name="Move"))
    app.ask(routines.update, write, RoutinePatch(project_id=project))
    app.ask(projects.pause, project)


def archive_company(app, _write, _trigger):
    app.ask(companies.archive, app.company)


def disable(app, _write, trigger):
    app.ask(triggers.update, trigger, TriggerPatch(enabled=False))


def delete(app, _write, trigger):
    app.ask(triggers.delete, trigger)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (pause, "routine_paused"),
        (archive, "routine_archived"),
        (pause_project, "paused"),
        (archive_company, "company_archived"),
        (disable, "trigger_disabled"),
        (delete, "trigger_deleted"),
    ],
)
def test_what_keeps_the_next_routine_from_running_is_on_the_record(app, stop, reason):
    fetch, write = app.routine(), app.routine()
    trigger, cause = link(app, write, fetch), app.fire(fetch)
    app.finish(cause)
    stop(app, write, trigger)

    assert 1 == carry_on(app, due_chain(app, trigger, cause))

    assert (Skipped(reason=reason), cause) == (last(app).outcome, last(app).cause_run_id)


def test_a_missing_variable_or_a_paused_agent_fails_the_next_run_with_the_reason(app):
    fetch, write = app.routine(), app.routine(title="Write {{articles}}")
    trigger, cause = link(app, write, fetch), app.fire(fetch)
    app.finish(cause)

    carry_on(app, due_chain(app, trigger, cause))

    assert Failed(reason="Missing routine variables: articles") == last(app).outcome
    other = app.routine()
    trigger, cause = link(app, other, fetch), app.fire(fetch)
    app.finish(cause)
    app.ask(agents.pause, app.agent, "holiday")
    carry_on(app, due_chain(app, trigger, cause))
    assert isinstance(last(app).outcome, Failed)


def test_a_chain_that_cannot_be_carried_on_is_given_up_as_a_failed_run(app):
    fetch, write = app.routine(), app.routine()
    trigger, cause = link(app, write, fetch), app.fire(fetch)
    app.finish(cause)

    assert 1 == app.carry_out(chains.fail_due, [due_chain(app, trigger, cause)], reason="Oversized")

    assert Failed(reason="The chain could not be carried on: Oversized") == last(app).outcome


def test_a_chain_ends_after_so_many_runs(app):
    """Links cannot be a cycle; but a link that is changed while a chain runs can make it longer and longer."""
    one, other = app.routine(concurrency_policy="always_enqueue"), app.routine(concurrency_policy="always_enqueue")
    trigger, cause = link(app, other, one), app.fire(one)
    for _ in range(chain.MAX_DEPTH + 1):
        app.finish(cause)
        carry_on(app, due_chain(app, trigger, cause))
        cause = run_of_chain(trigger, cause)

    depths = [event.chain_depth for event in app.events(RunFired)]
    assert list(range(chain.MAX_DEPTH + 2)) == depths
    assert Skipped(reason="chain_too_long") == last(app).outcome


def test_a_cycle_is_refused_however_long_it_is(app):
    first, second, third = (app.routine() for _ in range(3))
    link(app, second, first)
    trigger = link(app, third, second, enabled=False)

    for routine, after in ((first, first), (first, second), (first, third)):
        with pytest.raises(RuleViolation, match="would be a cycle"):
            link(app, routine, after)
    with pytest.raises(RuleViolation, match="would be a cycle"):
        app.ask(triggers.update, trigger, TriggerPatch(after_routine_id=third))


def test_a_restored_revision_may_not_close_a_cycle(app):
    first, second = app.routine(), app.routine()
    trigger = link(app, second, first)
    app.ask(triggers.delete, trigger)
    link(app, first, second)

    with pytest.raises(RuleViolation, match="would be a cycle"):
        app.ask(revisions.restore, second, revision_of(second, 2))


def test_two_links_that_together_are_a_cycle_cannot_both_be_recorded(app):
    first, second = app.routine(), app.routine()
    works = [UnitOfWork(app.store, app.now) for _ in range(2)]
    for work, (routine, after) in zip(works, ((first, second), (second, first)), strict=True):
        settings = TriggerSettings(after_routine_id=after, after_outcome="any")
        chains.must_be_linkable(work, routine, settings)
        state = TriggerState(kind="chain", settings=settings)
        work.record(routine, [RoutineTriggerAdded(trigger_id=uuid4(), kind="chain", state=state)])

    works[0].commit()
    with pytest.raises(IntegrityError):
        works[1].commit()


def test_a_deleted_link_comes_back_with_a_restored_revision(app):
    fetch, write = app.routine(), app.routine()
    trigger = link(app, write, fetch, after_outcome="any")
    app.ask(triggers.delete, trigger)

    app.ask(revisions.restore, write, revision_of(write, 2))

    state = app.state(TRIGGER, trigger)
    assert (False, fetch, "any") == (state.deleted, state.settings.after_routine_id, state.settings.after_outcome)


def test_a_routine_of_another_company_or_of_none_is_not_there(app):
    mine, other = app.routine(), app.other_company()
    theirs = app.ask(routines.create, other, RoutineDraft(title="Theirs"))

    for after in (theirs, uuid4(), app.agent):
        with pytest.raises(InvalidField, match="There is no such routine in the company"):
            link(app, mine, after)


def test_only_chains_have_the_fields_of_a_chain(app):
    routine, after = app.routine(), app.routine()
    trigger = app.schedule(routine)

    with pytest.raises(RuleViolation, match="Only chain triggers"):
        app.ask(triggers.update, trigger, TriggerPatch(after_routine_id=after))


def test_outputs_are_those_of_a_run(app):
    with pytest.raises(InvalidField, match="outputs is only for an issue that a run opened"):
        app.ask(issues.update, app.issue(), IssuePatch(outputs={"a": 1}), None)
    run = app.fire(app.routine())
    app.ask(issues.update, issue_of_run(run), IssuePatch(outputs={"a": 1}), None)
    app.ask(issues.update, issue_of_run(run), IssuePatch(outputs={"b": 2}, status="done"), None)

    assert {"b": 2} == app.state(RUN, run).report.outputs
