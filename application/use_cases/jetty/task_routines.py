"""Routines that call a task, as Jetty's clients manage them (Jetty contract 2)."""

from uuid import UUID

from msgspec import UNSET
from msgspec.structs import replace

from application.access import Action, Principal
from application.event_store.stream_kinds import TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.jetty import CadenceConfig, RoutineChange, RoutineCreate
from application.use_cases import named_secrets, names, routines, runs, schedule_changes, targets, task_firing, triggers
from application.use_cases.names import RoutinePath, TaskPath
from domain.disclosure import MASK
from domain.errors import Conflict, InvalidField
from domain.events import RoutineEvent, RoutineTriggerAdded, RoutineTriggerChanged, RoutineTriggerRemoved
from domain.identity import cadence_of, trajectory_of_run
from domain.jetty import cadence, task
from domain.jetty import task_call as calls
from domain.routines import routine, trigger
from domain.routines.firing import FiringRequest, RenderedTemplate
from domain.routines.routine import Routine
from domain.values import Cadence, Callback, RoutineSettings, RoutineStatus, Sealed, TaskCall
from domain.webhooks.secret import Secret

SECRETS, CALLBACK = "secret params", "callback"
FIELD = "secret_params"


def create(work: UnitOfWork, principal: Principal, path: TaskPath, draft: RoutineCreate) -> UUID:
    """
    Create a routine that calls the task, with the schedule of its cadence.

    Raises Conflict for a taken name, RuleViolation for a call that would be too large or overrides what the task does
    not declare, InvalidField for an address to which nothing is sent.
    """
    ref = names.task(work, principal, path, "assign")
    new_cadence = _cadence_of(draft.cadence)
    calls.check_overrides(draft.init_params_overrides, ref.task.details.workflow)
    targets.check_target(work, draft.webhook_url, "webhook_url")
    routine_id, company_id = work.new_id(), ref.company_id
    work.begin(cadence_of(routine_id))
    names.take(work, names.routines_of(ref.task_id), draft.name, routine_id, company_id, _name_conflict(draft.name))
    values = named_secrets.unmask(work, draft.secret_params, None, FIELD)
    secrets = named_secrets.seal(work, routine_id, SECRETS, values, company_id)
    callback = _keep_callback(work, routine_id, company_id, draft.webhook_url, draft.webhook_secret)
    call = TaskCall(
        task_id=ref.task_id,
        name=draft.name,
        cadence=new_cadence,
        overrides=draft.init_params_overrides,
        secrets=secrets,
        callback=callback,
    )
    settings = RoutineSettings(
        title=draft.name,
        status="paused" if draft.paused else "active",
        concurrency_policy="skip_if_active",
        call=call,
    )
    task_firing.must_be_callable(work, call, company_id)
    created = routine.create(settings, routines.find_responsible_user(work, principal, settings), work.limits)
    work.record(routine_id, created, company_id)
    work.record(ref.task_id, task.add_routine(ref.task, routine_id, work.limits))
    work.record(routine_id, _follow(work, routine_id, company_id, new_cadence))
    return routine_id


def update(
    work: UnitOfWork, principal: Principal, path: RoutinePath, patch: RoutineChange, action: Action = "assign"
) -> UUID:
    """Change the fields that the patch sets; raise as `create` does."""
    ref = names.routine(work, principal, path, action)
    if patch.webhook_url == MASK:
        patch = replace(patch, webhook_url=UNSET)
    new_cadence = ref.call.cadence if patch.cadence is UNSET else _cadence_of(patch.cadence)
    overrides = None if patch.init_params_overrides is UNSET else patch.init_params_overrides
    calls.check_overrides(overrides or {}, ref.task.details.workflow)
    call = replace(
        ref.call,
        cadence=new_cadence,
        overrides=ref.call.overrides if overrides is None else overrides,
        secrets=_secrets_after(work, ref, patch),
        callback=_callback_after(work, ref, patch),
    )
    if patch.name not in (UNSET, ref.call.name):
        call = _rename_call(work, ref, call, str(patch.name))
    if overrides is not None:
        task_firing.must_be_callable(work, call, ref.company_id)
    settings = replace(ref.routine.settings, call=call, title=_title_of(ref.routine.settings, call))
    if patch.paused is not UNSET:
        settings = replace(settings, status="paused" if patch.paused else "active")
    _record_change(work, ref, settings, follows=new_cadence != ref.call.cadence)
    return ref.routine_id


def pause(work: UnitOfWork, principal: Principal, path: RoutinePath) -> tuple[UUID, bool]:
    """Pause a routine; return its id, and whether the caller is shown the address of its callback."""
    _, addresses = names.look_with_rights(work, principal, names.routine, path)
    return update(work, principal, path, RoutineChange(paused=True), "administer"), addresses


def resume(work: UnitOfWork, principal: Principal, path: RoutinePath) -> UUID:
    """Resume a routine; its schedule goes on from now."""
    return update(work, principal, path, RoutineChange(paused=False))


def delete(work: UnitOfWork, principal: Principal, path: RoutinePath) -> UUID:
    """Archive a routine, so that its name is free; its trajectories stay."""
    ref = names.routine(work, principal, path, "administer")
    archive(work, ref.routine_id, ref.routine, ref.call)
    return ref.routine_id


def archive(work: UnitOfWork, routine_id: UUID, current: Routine, call: TaskCall) -> None:
    """Archive a routine: it fires no more, and its secrets are dropped."""
    schedule_changes.record_all_waiting_as_missed(work, current)
    task_firing.release(work, routine_id, call)
    new_settings = replace(current.settings, status="archived", call=replace(call, secrets=None, callback=None))
    work.record(routine_id, routine.update(current, new_settings))


def run_now(work: UnitOfWork, principal: Principal, path: RoutinePath) -> UUID:
    """Fire a routine and return its trajectory, whatever its cadence, pause and overlap are (Jetty contract 5.2)."""
    ref = names.routine(work, principal, path, "assign")
    run_id = runs.new_run(work)
    trajectory_id = trajectory_of_run(run_id)
    work.begin(trajectory_id)
    request = FiringRequest(
        run_id=run_id,
        routine_id=ref.routine_id,
        source="manual",
        assignee_agent_id=None,
        project_id=ref.routine.settings.project_id,
        rendered=RenderedTemplate(title=ref.routine.settings.title, description=""),
    )
    runs.record(work, ref.company_id, ref.routine, request)
    return trajectory_id


def _record_change(work: UnitOfWork, ref: names.RoutineRef, settings: RoutineSettings, *, follows: bool) -> None:
    """Record the settings and, if the cadence is another one (`follows`), the schedule for it."""
    current, events = ref.routine, list[RoutineEvent]()
    if follows and settings.call is not None:
        events = _follow(work, ref.routine_id, ref.company_id, settings.call.cadence, current, settings.status)
    elif settings.status == "active" and current.settings.status != "active":
        schedule_changes.resume_all(work, current)
    work.record(ref.routine_id, [*routine.update(current, settings, work.limits), *events])


def _follow(  # noqa: PLR0913, PLR0917 the cadence, and the routine before and after
    work: UnitOfWork,
    routine_id: UUID,
    company_id: UUID,
    new_cadence: Cadence,
    old: Routine | None = None,
    status: RoutineStatus | None = None,
) -> list[RoutineEvent]:
    """Give the routine the schedule of the cadence, and return what to record of it; a manual one has none."""
    trigger_id, schedule = cadence_of(routine_id), cadence.schedule_of(new_cadence)
    current = work.get(TRIGGER, trigger_id)
    is_there = current is not None and not current.deleted
    if schedule is None:
        if current is None or not is_there:
            return []
        triggers.remove(work, trigger_id, current)
        return [RoutineTriggerRemoved(trigger_id=trigger_id, kind="schedule")]
    if current is None:
        work.record(trigger_id, trigger.create(routine_id, "schedule", schedule, work.now), company_id)
    elif is_there and old is not None:
        schedule_changes.change_settings(work, trigger_id, current, old, schedule, status=status)
    else:
        state = replace(trigger.state_of(current), settings=schedule)
        work.record(trigger_id, trigger.restore(current, state, work.now))
    state = trigger.state_of(triggers.get_trigger(work, trigger_id))
    kind = RoutineTriggerChanged if is_there else RoutineTriggerAdded
    return [kind(trigger_id=trigger_id, kind="schedule", state=state)]


def _cadence_of(config: CadenceConfig) -> Cadence:
    return cadence.cadence(config.type, config.hour_utc, config.minute_utc, config.day_of_week)


def _name_conflict(name: str) -> Conflict:
    return Conflict(f"Routine '{name}' already exists for this task")


def _title_of(settings: RoutineSettings, call: TaskCall) -> str:
    """Return its name, unless somebody gave it another title."""
    return call.name if settings.call and settings.title == settings.call.name else settings.title


def _rename_call(work: UnitOfWork, ref: names.RoutineRef, call: TaskCall, name: str) -> TaskCall:
    scope = names.routines_of(ref.task_id)
    names.take(work, scope, name, ref.routine_id, ref.company_id, _name_conflict(name))
    names.release_name(work, scope, ref.call.name)
    return replace(call, name=name)


def _secrets_after(work: UnitOfWork, ref: names.RoutineRef, patch: RoutineChange) -> Sealed | None:
    old = ref.call.secrets
    if patch.secret_params is UNSET:
        return old
    try:
        values = named_secrets.unmask(work, patch.secret_params, old, FIELD)
    except named_secrets.SecretsLost:
        raise InvalidField("The stored secrets are gone: send their values", FIELD) from None
    return named_secrets.reseal(work, ref.routine_id, SECRETS, values, old)


def _keep_callback(
    work: UnitOfWork, routine_id: UUID, company_id: UUID, url: str | None, secret: str | None
) -> Callback | None:
    """Return the callback with its secret in the vault, which may wait there for a URL; None if there is neither."""
    secret_id = None
    if secret == MASK:
        raise InvalidField("webhook_secret: there is no value that could stay", "webhook_secret")
    if secret is not None:
        secret_id = work.keep(routine_id, CALLBACK, Secret(secret.encode()), company_id)
    return None if url is None and secret_id is None else Callback(url=url, secret_id=secret_id)


def _callback_after(work: UnitOfWork, ref: names.RoutineRef, patch: RoutineChange) -> Callback | None:
    old = ref.call.callback or Callback(url=None)
    url = old.url if patch.webhook_url is UNSET else patch.webhook_url
    targets.check_target(work, url, "webhook_url", old.url)
    stays = patch.webhook_secret == MASK and old.secret_id is not None
    if stays or patch.webhook_secret is UNSET or _is_kept(work, old, patch.webhook_secret):
        return None if url is None and old.secret_id is None else Callback(url=url, secret_id=old.secret_id)
    if old.secret_id is not None:
        work.drop([old.secret_id])
    return _keep_callback(work, ref.routine_id, ref.company_id, url, patch.webhook_secret or None)


def _is_kept(work: UnitOfWork, callback: Callback, secret: object) -> bool:
    """Return whether this is the secret that the callback has already, so that the same patch changes nothing."""
    if callback.secret_id is None or not isinstance(secret, str):
        return False
    stored_secret = work.reveal([callback.secret_id]).get(callback.secret_id)
    return stored_secret is not None and stored_secret.value == secret.encode()
