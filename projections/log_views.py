"""The view of the log that analysts read: each event with its envelope, without addresses."""

from projections.engine.views import View

# Where events hold what only those are shown who may change it (domain/disclosure.py): a path in the JSON of the event.
ADDRESSES = (
    ("email",),
    ("profile", "adapter_config"),
    ("profile", "heartbeat_url"),
    ("settings", "call", "callback", "url"),
    ("triggers",),  # of a restored revision: each has the address of its webhook
    ("state", "public_id"),
    ("webhook", "public_id"),
    ("callback", "url"),
    ("settings", "url"),
)
_BODY = "convert_from(body, 'UTF8')::jsonb"
_EVENT = f"({_BODY}->'event')" + "".join(f" #- '{{{','.join(path)}}}'" for path in ADDRESSES)

EVENTS = View(
    name="events",
    about="An event of the log, as the process that decided it stated it.",
    source="log.events",
    moment="at",
    columns={
        "position": ("position", "Its place in the log, from 1, without gaps"),
        "name": ("name", "The kind of event, such as run.fired"),
        "stream_id": ("stream_id", "The thing it happened to: a routine, a run, an issue"),
        "version": ("version", "Its number in that stream, from 1"),
        "at": (f"({_BODY}->>'at')::timestamptz", "When it was decided"),
        "recorded_at": ("recorded_at", "When the database recorded it"),
        "actor": (f"{_BODY}->>'actor'", "Who did it: user:ID, agent:ID, scheduler or system"),
        "company_id": (f"({_BODY}->>'company_id')::uuid", "Its company; NULL for what belongs to none"),
        "cause": (f"{_BODY}->>'cause'", "What led to it, such as the work session of an agent"),
        "event": (_EVENT, "Its fields as JSON, without addresses"),
    },
)
OF_LOG = (EVENTS,)
