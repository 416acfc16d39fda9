"""The bodies about endpoints that are told what happens."""

from msgspec import UNSET, UnsetType

from application.request_bodies.fields import Body, EventPatterns, Note, Url


class EndpointDraft(Body, frozen=True):
    """
    Describes a webhook endpoint to create. `events` holds stored names such as `run.fired`; `run.*` means all names
    that begin with `run.`, and `*` all events.
    """

    url: Url
    events: EventPatterns
    description: Note | None = None
    ordered: bool = False
    enabled: bool = True


class EndpointPatch(Body, frozen=True):
    """Changes a webhook endpoint. Fields that are absent stay as they are."""

    url: Url | UnsetType = UNSET
    events: EventPatterns | UnsetType = UNSET
    description: Note | None | UnsetType = UNSET
    ordered: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
