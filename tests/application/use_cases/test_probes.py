from datetime import timedelta

import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import PROBE, ROUTINE, RUN
from application.request_bodies.board import ProjectDraft
from application.request_bodies.routines import BackfillDraft, JsonConditionDraft, ProbeDraft, RoutinePatch
from application.use_cases import backfills, explanations, probes, revisions, routines, schedule_firing
from application.use_cases.board import projects
from domain.errors import InvalidField
from domain.events import ProbeAnswered, ProbeRequested, RoutineCreated, RunFired, TriggerMissed
from domain.identity import cadence_of, probe_of_occurrence, revision_of, run_of_occurrence
from domain.routines import probe
from domain.routines.activity_gate import Window
from domain.routines.backfill import WaitingBackfill
from domain.routines.probe import ANSWER_LIMIT, COUNTS_FOR, NOT_ASKED, REMOVED, PendingProbe
from domain.values import Opened, Probe, ProbeFinding, Skipped
from tests.application.use_cases.installation import DAY, HOUR, MINUTE

URL = "https://example.com/queue"
PASSED = ProbeFinding(verdict="passed", status=200, took_ms=12)
FAILED = ProbeFinding(verdict="failed", status=503, reason="The status is 503, and should be 2xx", took_ms=12)
SECOND = timedelta(seconds=1)


class Probed:
    """A routine with a probe, and its schedule by the hour, which is due."""

    def __init__(self, app, **fields):
        self.here = app
        self.routine = app.routine(probe=ProbeDraft(url=URL, **fields.pop("probe", {})), **fields)
        self.trigger = app.schedule(self.routine)
        app.passes(HOUR)
        self.occurrence = app.now.replace(minute=0, second=0)
        app.now = self.occurrence + SECOND

    @property
    def id(self):
        return probe_of_occurrence(self.trigger, self.occurrence)

    def tick(self, **fields):
        """What the scheduler does with the schedule; gives how many runs it recorded."""
        return self.here.carry_out(
            schedule_firing.fire_due, [replace(self.here.due(self.trigger, self.occurrence), **fields)]
        )

    def pending(self, version=1):
        return PendingProbe(id=self.id, version=version, routine_id=self.routine, company_id=self.here.company)

    def answer(self, finding, version=1):
        return self.here.carry_out(probes.record, self.pending(version), finding)

    @property
    def run(self):
        return self.here.state(RUN, run_of_occurrence(self.trigger, self.occurrence))


@pytest.fixture
def probe_fixture(app):
    return Probed(app)


def test_a_due_occurrence_waits_for_its_probe_and_requests_it_once(app, probe_fixture):
    assert [0, 0] == [probe_fixture.tick() for _ in range(2)]

    [requested] = app.events(ProbeRequested)
    assert (probe_fixture.trigger, probe_fixture.routine, probe_fixture.occurrence) == (
        requested.trigger_id,
        requested.routine_id,
        requested.occurrence,
    )
    assert (app.now, app.now + ANSWER_LIMIT) == (requested.as_of, requested.until)
    assert probe_fixture.run is None


@pytest.mark.parametrize(
    ("finding", "outcome"),
    [(PASSED, Opened), (FAILED, Skipped), (probe.unanswered_finding("No answer within 10 s"), Skipped)],
)
def test_by_the_answer_it_fires_or_is_skipped_with_the_evidence(app, probe_fixture, finding, outcome):
    probe_fixture.tick()
    app.passes(SECOND)

    assert probe_fixture.answer(finding)
    assert [1, 0] == [probe_fixture.tick() for _ in range(2)]

    [fired] = app.events(RunFired)
    assert isinstance(fired.outcome, outcome)
    assert finding == fired.probe
    reasons = {"failed": "probe_failed", "unanswered": "probe_unanswered", "passed": None}
    assert reasons[finding.verdict] == getattr(fired.outcome, "reason", None)


def test_a_probe_that_nobody_answers_fires_if_it_says_so(app):
    probe_fixture = Probed(app, probe={"if_unanswered": "fire"})
    probe_fixture.tick()
    probe_fixture.answer(probe.unanswered_finding("The host cannot be connected to"))

    probe_fixture.tick()

    assert isinstance(app.events(RunFired)[-1].outcome, Opened)


def test_an_answer_is_recorded_once(app, probe_fixture):
    probe_fixture.tick()

    assert [True, False] == [probe_fixture.answer(PASSED), probe_fixture.answer(FAILED)]
    assert [PASSED] == [event.finding for event in app.events(ProbeAnswered)]


def test_a_probe_that_is_not_asked_in_time_counts_as_unanswered(app, probe_fixture):
    probe_fixture.tick()
    app.passes(ANSWER_LIMIT)

    assert 1 == probe_fixture.tick()

    assert [NOT_ASKED] == [event.finding.reason for event in app.events(ProbeAnswered)]
    [fired] = app.events(RunFired)
    assert ("probe_unanswered", NOT_ASKED) == (fired.outcome.reason, fired.probe.reason)
    assert not probe_fixture.answer(PASSED)


def test_whoever_asks_too_late_records_that_instead_of_asking(app, probe_fixture):
    probe_fixture.tick()
    app.passes(ANSWER_LIMIT)

    assert probe.unanswered_finding(NOT_ASKED) == app.executor.query(
        lambda work: probes.probe_to_ask(work, probe_fixture.pending())
    )


def test_the_probe_is_asked_as_the_routine_has_it_now(app, probe_fixture):
    probe_fixture.tick()
    app.ask(routines.update, probe_fixture.routine, RoutinePatch(probe=ProbeDraft(url=f"{URL}/2")))

    assert Probe(url=f"{URL}/2") == app.executor.query(lambda work: probes.probe_to_ask(work, probe_fixture.pending()))


def test_a_probe_that_was_removed_meanwhile_holds_nothing_back(app, probe_fixture):
    probe_fixture.tick()
    app.ask(routines.update, probe_fixture.routine, RoutinePatch(probe=None))

    assert probe.unanswered_finding(REMOVED) == app.executor.query(
        lambda work: probes.probe_to_ask(work, probe_fixture.pending())
    )
    assert 1 == probe_fixture.tick()
    [fired] = app.events(RunFired)
    assert isinstance(fired.outcome, Opened)
    assert fired.probe is None


def test_an_answer_that_is_old_counts_no_more_and_the_probe_is_asked_anew(app):
    probe_fixture = Probed(app, catch_up_policy="enqueue_missed_with_cap")
    probe_fixture.tick()
    probe_fixture.answer(FAILED)
    app.passes(COUNTS_FOR + SECOND)

    assert 0 == probe_fixture.tick()
    assert 2 == len(app.events(ProbeRequested))
    assert probe_fixture.answer(PASSED, version=3)
    assert 1 == probe_fixture.tick()

    [fired] = app.events(RunFired)
    assert PASSED == fired.probe


def test_what_is_late_after_an_outage_is_missed_without_a_probe(app, probe_fixture):
    app.passes(10 * MINUTE)

    assert 0 == probe_fixture.tick()

    assert [1] == [event.count for event in app.events(TriggerMissed)]
    assert [] == app.events(ProbeRequested)


def test_an_occurrence_that_waited_for_its_answer_is_not_late_for_it(app, probe_fixture):
    app.now = probe_fixture.occurrence + 45 * SECOND
    probe_fixture.tick()
    app.passes(25 * SECOND)  # 70 s after it was due
    probe_fixture.answer(PASSED)

    assert 1 == probe_fixture.tick()
    assert [] == app.events(TriggerMissed)


def test_one_answer_counts_for_all_that_was_due_when_it_was_requested_and_for_no_more(app):
    probe_fixture = Probed(app, catch_up_policy="enqueue_missed_with_cap", concurrency_policy="always_enqueue")
    app.now = probe_fixture.occurrence + 2 * HOUR + 59 * MINUTE + 50 * SECOND
    probe_fixture.tick()
    app.passes(20 * SECOND)  # a further one has come due
    probe_fixture.answer(FAILED)

    assert 3 == probe_fixture.tick()

    assert [FAILED] * 3 == [event.probe for event in app.events(RunFired)]
    assert probe_fixture.occurrence + 3 * HOUR == app.events(RunFired)[-1].next_at


def test_what_is_held_back_anyway_is_not_probed(app):
    project = app.ask(projects.create, app.company, ProjectDraft(name="Move"))
    by_project = Probed(app, project_id=project)
    app.ask(projects.pause, project)
    by_project.tick()
    by_gate = Probed(app, activity_gate_policy="require_external_activity")
    by_gate.tick(window=Window(since=app.now - DAY))

    assert ["paused", "no_external_activity"] == [event.outcome.reason for event in app.events(RunFired)]
    assert [] == app.events(ProbeRequested)


def test_runs_by_hand_and_backfills_are_not_probed(app, probe_fixture):
    app.fire(probe_fixture.routine)
    app.finish(app.ids(RunFired)[-1])
    since = probe_fixture.occurrence - 5 * HOUR
    backfill_id = app.ask(
        backfills.create, probe_fixture.trigger, BackfillDraft(from_=since, to=since + HOUR, overlap="policy")
    )
    waiting = WaitingBackfill(
        id=backfill_id, trigger_id=probe_fixture.trigger, routine_id=probe_fixture.routine, company_id=app.company
    )
    app.carry_out(backfills.carry_on, [waiting])

    assert 3 == len(app.events(RunFired))
    assert [None] * 3 == [event.probe for event in app.events(RunFired)]
    assert [] == app.events(ProbeRequested)


def test_a_routine_that_calls_a_task_is_probed_as_well(app):
    app.task_routine(app.task(app.collection()[0]), kind="hourly")
    routine = app.ids(RoutineCreated)[-1]
    app.ask(routines.update, routine, RoutinePatch(probe=ProbeDraft(url=URL)))
    trigger, occurrence = cadence_of(routine), app.now.replace(minute=0, second=0) + HOUR
    app.now = occurrence
    row = replace(app.due(trigger, occurrence), company_id=app.executor.query(lambda work: work.company_of(routine)))
    app.carry_out(schedule_firing.fire_due, [row])
    pending = PendingProbe(
        id=probe_of_occurrence(trigger, occurrence), version=1, routine_id=routine, company_id=row.company_id
    )
    app.carry_out(probes.record, pending, FAILED)

    app.carry_out(schedule_firing.fire_due, [row])

    assert [Skipped(reason="probe_failed")] == [event.outcome for event in app.events(RunFired)]


@pytest.mark.parametrize("url", ["ftp://example.com", "https://user:password@example.com", "example.com", "***"])
def test_an_address_to_which_nothing_is_sent_is_refused(app, url):
    with pytest.raises(InvalidField) as refusal:
        app.routine(probe=ProbeDraft(url=url))

    assert "probe.url" == refusal.value.field


def test_a_mask_keeps_the_address(app, probe_fixture):
    condition = JsonConditionDraft(path="a", equals=1)

    app.ask(routines.update, probe_fixture.routine, RoutinePatch(probe=ProbeDraft(url="***", json=condition)))

    assert Probe(url=URL, json=condition.value()) == app.state(ROUTINE, probe_fixture.routine).settings.probe


def test_a_revision_brings_its_probe_back(app, probe_fixture):
    old_revision = app.state(ROUTINE, probe_fixture.routine).revision
    app.ask(routines.update, probe_fixture.routine, RoutinePatch(probe=None))

    app.ask(revisions.restore, probe_fixture.routine, revision_of(probe_fixture.routine, old_revision))

    assert Probe(url=URL) == app.state(ROUTINE, probe_fixture.routine).settings.probe


def test_what_becomes_of_it_is_told_in_sentences(app, probe_fixture):
    def verdict_and_text(moment=probe_fixture.occurrence):
        [(explanation, text)] = app.ask(explanations.explain, probe_fixture.routine, moment)
        return explanation.verdict, text

    assert "and runs only if its probe passes then" in verdict_and_text(probe_fixture.occurrence + HOUR)[1]
    probe_fixture.tick()
    verdict, waits = verdict_and_text()
    assert "being_settled" == verdict
    assert "waits for the answer of its probe since" in waits
    probe_fixture.answer(FAILED)
    probe_fixture.tick()

    assert ("skipped", "its probe did not pass (after 12 ms): the status is 503, and should be 2xx.") == (
        (last := verdict_and_text())[0],
        last[1].split("was skipped: ")[1],
    )
    assert "example.com" not in waits + last[1]


def test_a_run_that_its_probe_let_through_says_what_it_found(app, probe_fixture):
    probe_fixture.tick()
    probe_fixture.answer(PASSED)
    probe_fixture.tick()

    [(_, text)] = app.ask(explanations.explain, probe_fixture.routine, probe_fixture.occurrence)

    assert text.endswith("Its probe passed with the status 200 (after 12 ms).")
    assert PASSED == app.state(PROBE, probe_fixture.id).finding
