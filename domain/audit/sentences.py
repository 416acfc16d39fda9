"""
What happened, in one plain sentence: what, by whom, and in the course of which request. This is the one place for it.

Each kind of event has a text, or a function that chooses one. In a text `{routine}`, `{trigger}`, `{run}` and `{issue}` are
what the event belongs to, `{it}` is its stream, and every other name is a field of the event.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.audit.belonging import Belonging
from domain.events import (
    AnyEvent,
    BackfillAdvanced,
    CompanyEnvironmentChanged,
    DeliveryFailed,
    IssueOpened,
    KeyIssued,
    MemberChanged,
    MemberRemoved,
    ProbeAnswered,
    RunFired,
    TrajectoryMoved,
    UserRegistered,
    stored_name,
)
from domain.recorded import Recorded, Unreadable
from domain.schedule.time_words import describe_moment
from domain.values import Coalesced, Failed, Opened, ProbeFinding, Skipped, Started

Names = Mapping[UUID, str]  # the present names of things, as far as they have one
LONGEST_TEXT = 200  # characters of a text from outside, such as a reason
DOERS = {
    "user": "the user {}",
    "agent": "the agent {}",
    "key": "the holder of the collection's key {}",
    "trigger": "a call of the webhook trigger {}",
}
SERVICE = {"scheduler": "the scheduler", "delivery": "the delivery process", "system": "the service"}
SOURCES = {
    "schedule": "its schedule",
    "manual": "hand",
    "api": "a trigger of the API",
    "webhook": "a webhook",
    "chain": "a chain",
}


def _of_user(event: Any) -> str:
    match event:
        case UserRegistered(instance_admin=True):
            return "The user {name} was registered as an admin of the instance"
        case UserRegistered(instance_auditor=True):
            return "The user {name} was registered as an auditor of the instance"
        case _:
            return "The user {name} was registered"


def _of_member(event: Any) -> str:
    match event:
        case MemberChanged(revokes_keys=True) | MemberRemoved(revokes_keys=True):
            ending = ", and the keys that they issued are revoked"
        case _:
            ending = ""
    change = (
        "was removed from the company"
        if isinstance(event, MemberRemoved)
        else "became {role}, permissions: {permissions}"
    )
    return f"The membership {{it}} {change}{ending}"


def _of_key(event: Any) -> str:
    match event:
        case KeyIssued(agent_id=UUID()):
            return "A key named {name} was issued to the agent {agent_id}, valid until {expires_at:it is revoked}"
        case KeyIssued(collection_id=UUID()):
            return "A key named {name} was issued for the collection {collection_id}, valid until {expires_at:it is revoked}"
        case _:
            return "A key named {name} was issued to the user {user_id}, valid until {expires_at:it is revoked}"


def _of_environment(event: Any) -> str:
    match event:
        case CompanyEnvironmentChanged(environment=None):
            return "The environment of the company {it} was emptied"
        case _:
            return "The environment of the company {it} was changed: it has {environment:nothing}"


def _of_probe(event: Any) -> str:
    match event:
        case ProbeAnswered(finding=ProbeFinding(reason=str())):
            return "The probe for the occurrence {occurrence} of the trigger {trigger:unknown} ended as {finding.verdict}: {finding.reason}"
        case _:
            return (
                "The probe for the occurrence {occurrence} of the trigger {trigger:unknown} ended as {finding.verdict}"
            )


def _of_firing(event: Any) -> str:
    if not isinstance(event, RunFired):
        raise TypeError(event)
    planned = " for {occurrence}" if event.occurrence is not None else ""
    source = "a backfill" if event.backfill_id is not None else SOURCES[event.source]
    match event.outcome:
        case Opened():
            result = "opened the issue {outcome.issue_id}"
        case Started():
            result = "called a task, as the trajectory {outcome.trajectory_id}"
        case Coalesced():
            result = "was joined to the open issue {outcome.issue_id}"
        case Skipped(reason=None):
            result = "was skipped, since the issue {outcome.issue_id} was open"
        case Skipped():
            result = "was skipped: {outcome.reason}"
        case Failed():
            result = "failed: {outcome.reason}"
    return f"The routine {{routine:unknown}} was fired by {source}{planned}, and the run {{run}} {result}"


def _of_issue(event: Any) -> str:
    match event:
        case IssueOpened(run_id=UUID()):
            return "The issue {issue} ({details.title}) was opened for the run {run} of the routine {routine:unknown}, as {status}"
        case _:
            return "The issue {issue} ({details.title}) was opened, as {status}"


def _of_progress(event: Any) -> str:
    waits = ", and waits" if isinstance(event, BackfillAdvanced) and event.waits else ""
    return f"A backfill of the trigger {{trigger:unknown}} has come to {{reached}}: {{fired}} ran, {{left_out}} were left out{waits}"


def _of_trajectory(event: Any) -> str:
    match event:
        case TrajectoryMoved(error=str()):
            return "The trajectory {it} became {status}: {error}"
        case _:
            return "The trajectory {it} became {status}"


def _of_attempt(event: Any) -> str:
    match event:
        case DeliveryFailed():
            return "The delivery {it} failed at attempt {attempt}: {reason}; the next is made at {next_at}"
        case _:
            return "The delivery {it} was given up after attempt {attempt}: {reason}"


SENTENCES: dict[str, str | Callable[[Any], str]] = {
    "user.registered": _of_user,
    "user.erased": "The name and the address of the user {it} were erased: {reason}",
    "user.signed_out": "All sessions of the user {it} on the board were ended",
    "member.joined": "The user {user_id} joined the company as {role}, permissions: {permissions}",
    "member.changed": _of_member,
    "member.removed": _of_member,
    "key.issued": _of_key,
    "key.revoked": "The key {it} was revoked",
    "name.claimed": "A name of the kind {scope} was taken for {holder_id}",
    "name.released": "The name {it} is free again",
    "company.created": "The company {details.name} was created, with the issue prefix {issue_prefix}",
    "company.updated": "The details of the company {details.name} were changed",
    "company.archived": "The company {it} was archived",
    "company.erased": "What was written, sent or named in the company {it} was erased: {reason}",
    "company.named": "The company {it} got the name {name} as a collection",
    "company.environment_changed": _of_environment,
    "agent.created": "The agent {profile.name} joined, as {status}",
    "agent.updated": "The profile of the agent {profile.name} was changed",
    "agent.paused": "The agent {it} was paused: {reason}",
    "agent.resumed": "The agent {it} was resumed",
    "agent.approved": "The agent {it} was approved",
    "agent.terminated": "The agent {it} was terminated; its keys are not accepted any more",
    "agent.heartbeat_secret_set": "The secret of the heartbeats of the agent {it} was set; the old one holds until {old_until:now}",
    "agent.heartbeat_stopped": "The agent {it} gets no more heartbeats: {reason}",
    "project.created": "The project {details.name} was created",
    "project.updated": "The details of the project {details.name} were changed",
    "project.paused": "The project {it} was paused: {reason}",
    "project.resumed": "The project {it} was resumed",
    "project.deleted": "The project {it} was deleted",
    "goal.created": "The goal {details.title} was created",
    "goal.updated": "The details of the goal {details.title} were changed",
    "goal.deleted": "The goal {it} was deleted",
    "folder.created": "The folder {details.name} was created",
    "folder.updated": "The folder {details.name} was renamed or moved",
    "folder.deleted": "The folder {it} was deleted",
    "zones.adopted": "Schedules are planned by the zone data {version} from now on",
    "routine.created": "The routine {settings.title} was created, as {settings.status}",
    "routine.updated": "The settings of the routine {settings.title} were changed; it is {settings.status}",
    "routine.restored": "The routine {settings.title} was restored to its revision {from_revision}",
    "routine.trigger_added": "The routine {routine:unknown} got the trigger {trigger_id}, of the kind {kind}",
    "routine.trigger_changed": "The trigger {trigger_id} of the routine {routine:unknown} was changed",
    "routine.secret_rotated": "The webhook trigger {trigger_id} of the routine {routine:unknown} got a new secret",
    "routine.trigger_removed": "The routine {routine:unknown} lost the trigger {trigger_id}, of the kind {kind}",
    "trigger.created": "The trigger {trigger:unknown} of the routine {routine:unknown}, of the kind {kind}, was created; its next occurrence: {next_at:none}",
    "trigger.updated": "The trigger {trigger:unknown} of the routine {routine:unknown} was changed; its next occurrence: {next_at:none}",
    "trigger.secret_rotated": "The trigger {trigger:unknown} accepts a new secret, and the old one until {old_until:now}",
    "trigger.restored": "The trigger {trigger:unknown} of the routine {routine:unknown} is there again; its next occurrence: {next_at:none}",
    "trigger.rescheduled": "The trigger {trigger:unknown} goes on after a pause, at {next_at:no time}",
    "trigger.replanned": "The trigger {trigger:unknown} was planned anew by the zone data {zone_data}; its next occurrence: {next_at:none}",
    "trigger.missed": "Occurrences of the trigger {trigger:unknown} of the routine {routine:unknown} did not run: {count} from {first} to {last}, "
    "because {reason}",
    "trigger.deleted": "The trigger {trigger:unknown} of the routine {routine:unknown} was deleted",
    "backfill.requested": "A backfill of the trigger {trigger:unknown} was asked for: {count} occurrences from {since} to {until}",
    "backfill.advanced": _of_progress,
    "backfill.completed": "A backfill of the trigger {trigger:unknown} is complete",
    "backfill.cancelled": "A backfill of the trigger {trigger:unknown} was cancelled: {reason}",
    "probe.requested": "The probe of the routine {routine:unknown} was asked for, since the occurrence {occurrence} had come due",
    "probe.answered": _of_probe,
    "run.fired": _of_firing,
    "run.reported": "Outputs or usage of the run {run} were reported",
    "run.completed": "The run {run} of the routine {routine:unknown} is complete",
    "run.failed": "The run {run} of the routine {routine:unknown} failed: {reason}",
    "run.attempt_failed": "Attempt {attempt} of the run {run} failed: {reason}; the next begins at {next_at}",
    "run.attempt_begun": "Attempt {attempt} of the run {run} began, with the issue {issue_id}",
    "slot.taken": "The routine {routine:unknown} has one more piece of work under way, of the run {live.run_id}",
    "slot.freed": "A piece of work of the routine {routine:unknown} is not open any more: {issue_id}",
    "slot.counted": "The work of the routine {routine:unknown} that is under way was counted",
    "alert.failing": "Alert: the routine {title} is failing, since its run {run_id} failed: {reason}",
    "alert.missed": "Alert: {count} occurrences in a row of the routine {title} did not run",
    "alert.overdue": "Alert: the run {run_id} of the routine {title} has not ended in time",
    "alert.untaken": "Alert: nobody has taken the work of the run {run_id} of the routine {title} in time",
    "alert.stuck": "Alert: the work of the run {run_id} of the routine {title} goes on for too long",
    "alert.recovered": "The routine {title} has recovered after {failures} failures, by its run {run_id}",
    "alert.closed": "A trouble of the routine {title} is over: {kind}",
    "issue.opened": _of_issue,
    "issue.edited": "The details of the issue {issue} ({details.title}) were changed",
    "issue.moved": "The issue {issue} became {status}",
    "issue.checked_out": "The agent {agent_id} began to work on the issue {issue}",
    "issue.lease_renewed": "The agent {agent_id} goes on working on the issue {issue}, until {until}",
    "issue.released": "The issue {issue} was handed back; nobody works on it",
    "issue.freed": "The issue {issue} was taken from whoever worked on it: {reason}",
    "comment.added": "A comment was added to the issue {issue}",
    "task.created": "The task {details.name} was created",
    "task.updated": "The details of the task {details.name} were changed",
    "task.routine_added": "The routine {routine:unknown} calls the task {it} from now on",
    "task.routine_removed": "The routine {routine:unknown} does not call the task {it} any more",
    "task.deleted": "The task {it} was deleted",
    "trajectory.opened": "The task {task_id} was called, as the trajectory {it}",
    "trajectory.claimed": "The worker {worker} took the trajectory {it}, until {until}",
    "trajectory.lease_extended": "The worker goes on with the trajectory {it}, until {until}",
    "trajectory.step_reported": "The step {step} of the trajectory {it} was reported as {status}",
    "trajectory.usage_reported": "What the work on the trajectory {it} has used so far was reported",
    "trajectory.moved": _of_trajectory,
    "trajectory.labelled": "The label {key} of the trajectory {it} was set to {value}",
    "endpoint.created": "The webhook endpoint {it} was created, for {settings.events}",
    "endpoint.updated": "The settings of the webhook endpoint {it} were changed",
    "endpoint.secret_rotated": "The webhook endpoint {it} got a new secret; the old one holds until {old_until:now}",
    "endpoint.disabled": "The webhook endpoint {it} was disabled: {reason}",
    "endpoint.tested": "A test message to the webhook endpoint {it} was asked for",
    "endpoint.deleted": "The webhook endpoint {it} was deleted",
    "delivery.failed": _of_attempt,
    "delivery.delivered": "The delivery {it} arrived at attempt {attempt}, answered with {status}",
    "delivery.dead": _of_attempt,
    "delivery.requested": "The delivery {it}, of the event {position} to {target_id}, was asked for once more",
}


class Words:
    """What stands for the names in a text: `words["routine"]` is how the routine is called."""

    def __init__(self, recorded: Recorded, belonging: Belonging, names: Names) -> None:
        self._event = recorded.event
        self._names = names
        self._subjects = {
            "it": recorded.stream_id,
            "routine": belonging.routine_id,
            "trigger": belonging.trigger_id,
            "run": belonging.run_id,
            "issue": belonging.issue_id,
        }

    def __getitem__(self, name: str) -> "Word":
        """Return the word for a thing or a field; it is asked for its own fields as the text goes on."""
        value = self._subjects[name] if name in self._subjects else getattr(self._event, name)
        return Word(value, self._names)


class Word:
    """A value of an event, which is written in words."""

    def __init__(self, value: Any, names: Names) -> None:
        self._value, self._names = value, names

    def __getattr__(self, name: str) -> "Word":
        """Return the field of a value that has fields."""
        return Word(getattr(self._value, name), self._names)

    def __format__(self, absent: str) -> str:
        """Return the value in words; `absent` stands for one that is not there: `{until:it is revoked}`."""
        return absent or "nobody" if self._value is None else _write_value(self._value, self._names)


def sentence(recorded: Recorded, belonging: Belonging, names: Names) -> str:
    """Return what happened, by whom, and in the course of which request, as one plain sentence."""
    if isinstance(recorded.event, Unreadable):
        return f"This version of the service cannot read what happened ({recorded.name})."
    words: Any = Words(recorded, belonging, names)
    happening = text_of(recorded.event).format_map(words)
    session = "" if recorded.cause is None else f", in the work session {recorded.cause}"
    return f"{happening}, by {doer(recorded.actor, names)}{session}."


def text_of(event: AnyEvent) -> str:
    """Return the text for an event, with names for what stands in it."""
    text = SENTENCES[stored_name(event)]
    return text if isinstance(text, str) else text(event)


def doer(actor: str, names: Names) -> str:
    """Return the actor of an event in words."""
    kind, _, id_ = actor.partition(":")
    if kind not in DOERS:
        return SERVICE.get(actor, actor)
    try:
        return DOERS[kind].format(_write_value(UUID(id_), names))
    except ValueError:
        return actor


def named_in(recorded: Recorded, belonging: Belonging) -> set[UUID]:
    """Return the ids whose names the sentence may need."""
    ids = {recorded.stream_id, belonging.routine_id, belonging.issue_id}
    _, _, doer_id = recorded.actor.partition(":")
    with suppress(ValueError):
        ids.add(UUID(doer_id))
    if not isinstance(recorded.event, Unreadable):
        ids |= {value for value in _values_of(recorded.event) if isinstance(value, UUID)}
    return {id_ for id_ in ids if id_ is not None}


def _values_of(event: AnyEvent) -> list[Any]:
    return [getattr(event, name) for name in event.__struct_fields__] + [
        getattr(getattr(event, "outcome", None), "issue_id", None)
    ]


def _write_value(value: Any, names: Names) -> str:
    match value:
        case UUID():
            return f"“{names[value]}”" if value in names else str(value)
        case datetime():
            return describe_moment(value, "UTC")
        case tuple():
            return ", ".join(_write_value(part, names) for part in value) or "none"
        case str():
            text = " ".join(value.split())
            return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
        case _ if hasattr(value, "names"):
            return ", ".join(value.names)
        case _:
            return str(value)
