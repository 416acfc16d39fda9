from datetime import timedelta

import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import PROBE, ROUTINE, RUN
from application.request_bodies.board import ProjectDraft
from application.request_bodies.routines import BackfillDraft, JsonConditionDraft, ProbeDraft, RoutinePatch
from application.use_cases import backfills, explanations, probes, revisions, routines, runs
from application.use_cases.board import projects
from domain.errors import InvalidField
from domain.events import ProbeAnswered, ProbeRequested, RoutineCreated, RunFired, TriggerMissed
from domain.identity import cadence_of, probe_of_occurrence, revision_of, run_of_occurrence
from domain.routines import probe
from domain.routines.activity_gate import Window
from domain.routines.backfill import Waiting
from domain.routines.probe import ANSWER_LIMIT, COUNTS_FOR, NOT_ASKED, REMOVED, PendingProbe
from domain.values import Opened, Probe, ProbeFinding, Skipped
from tests.application.use_cases.installation import DAY, HOUR, MINUTE

URL = "https://example.com/queue"
PASSED = ProbeFinding(verdict="passed", status=200, took_ms=12)
FAILED = ProbeFinding(verdict="failed", status=503, reason="The status is 503, and should be 2xx", took_ms=12)
SECOND = timedelta(seconds=1)


class Probed:
    """A routine with a probe, and its schedule by the hour, which is due."""

    def __init__(self, here, **fields):
        self.here = here
        self.routine = here.routine(probe=ProbeDraft(url=URL, **fields.pop("probe", {})), **fields)
        self.trigger = here.schedule(self.routine)
        here.passes(HOUR)
        self.occurrence = here.now.replace(minute=0, second=0)
        here.now = self.occurrence + SECOND

    @property
    def id(self):
        return probe_of_occurrence(self.trigger, self.occurrence)

    def tick(self, **fields):
        """What the scheduler does with the schedule; gives how many runs it recorded."""
        return self.here.carry_out(runs.fire_due, [replace(self.here.due(self.trigger, self.occurrence), **fields)])

    def pending(self, version=1):
        return PendingProbe(id=self.id, version=version, routine_id=self.routine, company_id=self.here.company)

    def answer(self, finding, version=1):
        return self.here.carry_out(probes.record, self.pending(version), finding)

    @property
    def run(self):
        return self.here.state(RUN, run_of_occurrence(self.trigger, self.occurrence))


@pytest.fixture
def probed(here):
    return Probed(here)


def test_a_due_occurrence_waits_for_its_probe_and_requests_it_once(here, probed):
    assert [0, 0] == [probed.tick() for _ in range(2)]

    [requested] = here.events(ProbeRequested)
    assert (probed.trigger, probed.routine, probed.occurrence) == (
        requested.trigger_id,
        requested.routine_id,
        requested.occurrence,
    )
    assert (here.now, here.now + ANSWER_LIMIT) == (requested.as_of, requested.until)
    assert probed.run is None


@pytest.mark.parametrize(
    ("finding", "outcome"), [(PASSED, Opened), (FAILED, Skipped), (probe.unanswered("No answer within 10 s"), Skipped)]
)
def test_by_the_answer_it_fires_or_is_skipped_with_the_evidence(here, probed, finding, outcome):
    probed.tick()
    here.passes(SECOND)

    assert probed.answer(finding)
    assert [1, 0] == [probed.tick() for _ in range(2)]

    [fired] = here.events(RunFired)
    assert isinstance(fired.outcome, outcome)
    assert finding == fired.probe
    reasons = {"failed": "probe_failed", "unanswered": "probe_unanswered", "passed": None}
    assert reasons[finding.verdict] == getattr(fired.outcome, "reason", None)


def test_a_probe_that_nobody_answers_fires_if_it_says_so(here):
    probed = Probed(here, probe={"if_unanswered": "fire"})
    probed.tick()
    probed.answer(probe.unanswered("The host cannot be connected to"))

    probed.tick()

    assert isinstance(here.events(RunFired)[-1].outcome, Opened)


def test_an_answer_is_recorded_once(here, probed):
    probed.tick()

    assert [True, False] == [probed.answer(PASSED), probed.answer(FAILED)]
    assert [PASSED] == [event.finding for event in here.events(ProbeAnswered)]


def test_a_probe_that_is_not_asked_in_time_counts_as_unanswered(here, probed):
    probed.tick()
    here.passes(ANSWER_LIMIT)

    assert 1 == probed.tick()

    assert [NOT_ASKED] == [event.finding.reason for event in here.events(ProbeAnswered)]
    [fired] = here.events(RunFired)
    assert ("probe_unanswered", NOT_ASKED) == (fired.outcome.reason, fired.probe.reason)
    assert not probed.answer(PASSED)


def test_whoever_asks_too_late_records_that_instead_of_asking(here, probed):
    probed.tick()
    here.passes(ANSWER_LIMIT)

    assert probe.unanswered(NOT_ASKED) == here.executor.query(lambda work: probes.wanted(work, probed.pending()))


def test_the_probe_is_asked_as_the_routine_has_it_now(here, probed):
    probed.tick()
    here.ask(routines.update, probed.routine, RoutinePatch(probe=ProbeDraft(url=f"{URL}/2")))

    assert Probe(url=f"{URL}/2") == here.executor.query(lambda work: probes.wanted(work, probed.pending()))


def test_a_probe_that_was_removed_meanwhile_holds_nothing_back(here, probed):
    probed.tick()
    here.ask(routines.update, probed.routine, RoutinePatch(probe=None))

    assert probe.unanswered(REMOVED) == here.executor.query(lambda work: probes.wanted(work, probed.pending()))
    assert 1 == probed.tick()
    [fired] = here.events(RunFired)
    assert isinstance(fired.outcome, Opened)
    assert fired.probe is None


def test_an_answer_that_is_old_counts_no_more_and_the_probe_is_asked_anew(here):
    probed = Probed(here, catch_up_policy="enqueue_missed_with_cap")
    probed.tick()
    probed.answer(FAILED)
    here.passes(COUNTS_FOR + SECOND)

    assert 0 == probed.tick()
    assert 2 == len(here.events(ProbeRequested))
    assert probed.answer(PASSED, version=3)
    assert 1 == probed.tick()

    [fired] = here.events(RunFired)
    assert PASSED == fired.probe


def test_what_is_late_after_an_outage_is_missed_without_a_probe(here, probed):
    here.passes(10 * MINUTE)

    assert 0 == probed.tick()

    assert [1] == [event.count for event in here.events(TriggerMissed)]
    assert [] == here.events(ProbeRequested)


def test_an_occurrence_that_waited_for_its_answer_is_not_late_for_it(here, probed):
    here.now = probed.occurrence + 45 * SECOND
    probed.tick()
    here.passes(25 * SECOND)  # 70 s after it was due
    probed.answer(PASSED)

    assert 1 == probed.tick()
    assert [] == here.events(TriggerMissed)


def test_one_answer_counts_for_all_that_was_due_when_it_was_requested_and_for_no_more(here):
    probed = Probed(here, catch_up_policy="enqueue_missed_with_cap", concurrency_policy="always_enqueue")
    here.now = probed.occurrence + 2 * HOUR + 59 * MINUTE + 50 * SECOND
    probed.tick()
    here.passes(20 * SECOND)  # a further one has come due
    probed.answer(FAILED)

    assert 3 == probed.tick()

    assert [FAILED] * 3 == [event.probe for event in here.events(RunFired)]
    assert probed.occurrence + 3 * HOUR == here.events(RunFired)[-1].next_at


def test_what_is_held_back_anyway_is_not_probed(here):
    project = here.ask(projects.create, here.company, ProjectDraft(name="Move"))
    by_project = Probed(here, project_id=project)
    here.ask(projects.pause, project)
    by_project.tick()
    by_gate = Probed(here, activity_gate_policy="require_external_activity")
    by_gate.tick(window=Window(since=here.now - DAY))

    assert ["paused", "no_external_activity"] == [event.outcome.reason for event in here.events(RunFired)]
    assert [] == here.events(ProbeRequested)


def test_runs_by_hand_and_backfills_are_not_probed(here, probed):
    here.fire(probed.routine)
    here.finish(here.ids(RunFired)[-1])
    since = probed.occurrence - 5 * HOUR
    backfill_id = here.ask(
        backfills.create, probed.trigger, BackfillDraft(from_=since, to=since + HOUR, overlap="policy")
    )
    waiting = Waiting(id=backfill_id, trigger_id=probed.trigger, routine_id=probed.routine, company_id=here.company)
    here.carry_out(backfills.carry_on, [waiting])

    assert 3 == len(here.events(RunFired))
    assert [None] * 3 == [event.probe for event in here.events(RunFired)]
    assert [] == here.events(ProbeRequested)


def test_a_routine_that_calls_a_task_is_probed_as_well(here):
    here.task_routine(here.task(here.collection()[0]), kind="hourly")
    routine = here.ids(RoutineCreated)[-1]
    here.ask(routines.update, routine, RoutinePatch(probe=ProbeDraft(url=URL)))
    trigger, occurrence = cadence_of(routine), here.now.replace(minute=0, second=0) + HOUR
    here.now = occurrence
    row = replace(here.due(trigger, occurrence), company_id=here.executor.query(lambda work: work.company_of(routine)))
    here.carry_out(runs.fire_due, [row])
    pending = PendingProbe(
        id=probe_of_occurrence(trigger, occurrence), version=1, routine_id=routine, company_id=row.company_id
    )
    here.carry_out(probes.record, pending, FAILED)

    here.carry_out(runs.fire_due, [row])

    assert [Skipped(reason="probe_failed")] == [event.outcome for event in here.events(RunFired)]


@pytest.mark.parametrize("url", ["ftp://example.com", "https://user:password@example.com", "example.com", "***"])
def test_an_address_to_which_nothing_is_sent_is_refused(here, url):
    with pytest.raises(InvalidField) as refused:
        here.routine(probe=ProbeDraft(url=url))

    assert "probe.url" == refused.value.field


def test_a_mask_keeps_the_address(here, probed):
    condition = JsonConditionDraft(path="a", equals=1)

    here.ask(routines.update, probed.routine, RoutinePatch(probe=ProbeDraft(url="***", json=condition)))

    assert Probe(url=URL, json=condition.value()) == here.state(ROUTINE, probed.routine).settings.probe


def test_a_revision_brings_its_probe_back(here, probed):
    before = here.state(ROUTINE, probed.routine).revision
    here.ask(routines.update, probed.routine, RoutinePatch(probe=None))

    here.ask(revisions.restore, probed.routine, revision_of(probed.routine, before))

    assert Probe(url=URL) == here.state(ROUTINE, probed.routine).settings.probe


def test_what_becomes_of_it_is_told_in_sentences(here, probed):
    def told(moment=probed.occurrence):
        [(explanation, text)] = here.ask(explanations.explain, probed.routine, moment)
        return explanation.verdict, text

    assert "and runs only if its probe passes then" in told(probed.occurrence + HOUR)[1]
    probed.tick()
    verdict, waits = told()
    assert "being_settled" == verdict
    assert "waits for the answer of its probe since" in waits
    probed.answer(FAILED)
    probed.tick()

    assert ("skipped", "its probe did not pass (after 12 ms): the status is 503, and should be 2xx.") == (
        (last := told())[0],
        last[1].split("was skipped: ")[1],
    )
    assert "example.com" not in waits + last[1]


def test_a_run_that_its_probe_let_through_says_what_it_found(here, probed):
    probed.tick()
    probed.answer(PASSED)
    probed.tick()

    [(_, text)] = here.ask(explanations.explain, probed.routine, probed.occurrence)

    assert text.endswith("Its probe passed with the status 200 (after 12 ms).")
    assert PASSED == here.state(PROBE, probed.id).finding
