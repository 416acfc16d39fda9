"""The view of the log that analysts read: each event with its envelope, without addresses."""

from projections.engine.views import View

# Where events hold what only those are shown who may change it (domain/disclosure.py), by their stored names: paths in their
# JSON. Of a restored revision all triggers are left out, since each has the address of its webhook.
_CALLBACK, _PROBE, _TRIGGER, _WEBHOOK = (
    ("settings", "call", "callback", "url"),
    ("settings", "probe", "url"),
    ("state", "public_id"),
    ("webhook", "public_id"),
)
_AGENT = (("profile", "adapter_config"), ("profile", "heartbeat_url"))
ADDRESSES: dict[str, tuple[tuple[str, ...], ...]] = {
    "user.registered": (("email",),),
    "name.claimed": (("name",),),  # may be an email, or the address of a webhook
    "agent.created": _AGENT,
    "agent.updated": _AGENT,
    "routine.created": (_CALLBACK, _PROBE),
    "routine.updated": (_CALLBACK, _PROBE),
    "routine.restored": (_CALLBACK, _PROBE, ("triggers",)),
    "routine.trigger_added": (_TRIGGER,),
    "routine.trigger_changed": (_TRIGGER,),
    "trigger.created": (_WEBHOOK,),
    "trigger.updated": (_WEBHOOK,),
    "trigger.restored": (_WEBHOOK,),
    "trigger.secret_rotated": (_WEBHOOK,),
    "trajectory.opened": (("callback", "url"),),
    "endpoint.created": (("settings", "url"),),
    "endpoint.updated": (("settings", "url"),),
}


def _event_without(paths: tuple[tuple[str, ...], ...]) -> str:
    return "stated->'event'" + "".join(f" #- '{{{','.join(path)}}}'" for path in paths)


_CASES = " ".join(f"WHEN '{name}' THEN {_event_without(paths)}" for name, paths in ADDRESSES.items())
# Of whoever is erased nothing is shown: what was recorded before texts were sealed is still in the log.
_SUBJECT = "coalesce(stated->>'subject_id', stated->>'company_id', stated->'event'->>'user_id', stream_id::text)::uuid"
_IS_ERASED = f"EXISTS (SELECT FROM vault.data_keys k WHERE k.subject_id = {_SUBJECT} AND k.erased_at IS NOT NULL)"
_EVENT = (
    f"CASE WHEN {_IS_ERASED} THEN jsonb_build_object('type', name) ELSE CASE name {_CASES} ELSE stated->'event' END END"
)

EVENTS = View(
    name="events",
    about="An event of the log, as the process that decided it stated it.",
    # OFFSET keeps Postgres from reading the JSON once for each column
    source="log.events e CROSS JOIN LATERAL (SELECT convert_from(e.body, 'UTF8')::jsonb AS stated OFFSET 0) body",
    moment="at",
    columns={
        "position": ("position", "Its place in the log, from 1, without gaps"),
        "name": ("name", "The kind of event, such as run.fired"),
        "stream_id": ("stream_id", "The thing it happened to: a routine, a run, an issue"),
        "version": ("version", "Its number in that stream, from 1"),
        "at": ("(stated->>'at')::timestamptz", "When it was decided"),
        "recorded_at": ("recorded_at", "When the database recorded it"),
        "actor": ("stated->>'actor'", "Who did it: user:ID, agent:ID, scheduler or system"),
        "company_id": ("(stated->>'company_id')::uuid", "Its company; NULL for what belongs to none"),
        "cause": ("stated->>'cause'", "What led to it, such as the work session of an agent"),
        "event": (
            _EVENT,
            "Its fields as JSON, without addresses; [sealed], {} and [] stand for texts, payloads and names",
        ),
    },
)
OF_LOG = (EVENTS,)
