"""Probes: the scheduler requests them and settles by what they have found, the delivery process asks and records it."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from application.event_store.stream_kinds import PROBE, PROJECT, ROUTINE
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import targets
from domain.board import project as projects
from domain.disclosure import MASK
from domain.identity import probe_of_occurrence
from domain.routines import activity_gate, probe
from domain.routines.activity_gate import Window
from domain.routines.probe import PendingProbe, Request
from domain.routines.routine import Routine
from domain.routines.trigger import DueTrigger
from domain.values import Probe, ProbeFinding


def check_probe(work: UnitOfWork, new: Probe | None, old: Probe | None = None) -> Probe | None:
    """Return a probe whose address is checked; a mask stands for the address that there is. Raise InvalidField."""
    if new is None:
        return None
    if new.url == MASK and old is not None:
        return replace(new, url=old.url)
    targets.check_target(work, new.url, "probe.url", None if old is None else old.url)
    return new


def is_on(work: UnitOfWork, routine_id: UUID) -> bool:
    """Return whether the routine has a probe."""
    current = work.get(ROUTINE, routine_id)
    return current is not None and current.settings.probe is not None


def is_needed(work: UnitOfWork, current: Routine, window: Window | None) -> bool:
    """Return whether occurrences that are due fire only as the probe says, and nothing else holds them back already."""
    if current.settings.probe is None or projects.is_paused(work.get(PROJECT, current.settings.project_id)):
        return False
    return window is None or not activity_gate.holds(window)


def counting(
    work: UnitOfWork, current: Routine, trigger_id: UUID, occurrence: datetime, due_at: datetime
) -> Request | None:
    """Return the request for the probe of the occurrence by which it is settled; None if it is to be requested (anew)."""
    if current.settings.probe is None:
        return None
    request = work.get(PROBE, probe_of_occurrence(trigger_id, occurrence))
    return request if request is not None and due_at <= request.as_of and request.counts(work.now) else None


def finding(work: UnitOfWork, row: DueTrigger, occurrence: datetime, request: Request | None) -> ProbeFinding | None:
    """
    Return what the probe of an occurrence has found; None while it waits for the answer.

    Requests it unless there is a request that counts, and records that it was not answered once it has waited for too
    long.
    """
    probe_id = probe_of_occurrence(row.trigger_id, occurrence)
    if request is None:
        request_event = probe.request(row.trigger_id, row.routine_id, occurrence, work.now)
        work.record(probe_id, [request_event], row.company_id)
        return None
    if request.waits(work.now):
        return None
    if request.finding is None:
        work.record(probe_id, probe.answer(request, probe.unanswered_finding(probe.NOT_ASKED)))
    return request.finding or probe.unanswered_finding(probe.NOT_ASKED)


def is_due(work: UnitOfWork, pending: PendingProbe) -> bool:
    """Return whether nothing was recorded of the probe since the read model saw it."""
    return work.version_of(pending.id) == pending.version


def probe_to_ask(work: UnitOfWork, pending: PendingProbe) -> Probe | ProbeFinding:
    """Return the probe to ask, as the routine has it now, or what is found without asking: it is too late, or gone."""
    request, current = work.get(PROBE, pending.id), work.get(ROUTINE, pending.routine_id)
    if request is None or not request.waits(work.now):
        return probe.unanswered_finding(probe.NOT_ASKED)
    if current is None or current.settings.probe is None:
        return probe.unanswered_finding(probe.REMOVED)
    return current.settings.probe


def record(work: UnitOfWork, pending: PendingProbe, finding: ProbeFinding) -> bool:
    """Record what was found; return False when something was recorded of the probe meanwhile."""
    request = work.get(PROBE, pending.id)
    if request is None or not is_due(work, pending):
        return False
    work.record(pending.id, probe.answer(request, finding))
    return True
