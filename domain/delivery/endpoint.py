"""A webhook endpoint: a URL to which a company has its events sent."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from domain.errors import Conflict, ImpossibleHistory, InvalidField, NotFound
from domain.events import (
    STORED_NAMES,
    EndpointCreated,
    EndpointDeleted,
    EndpointDisabled,
    EndpointEvent,
    EndpointSecretRotated,
    EndpointTested,
    EndpointUpdated,
)
from domain.values import EndpointSettings, Value
from domain.webhooks import signing_keys
from domain.webhooks.signing_keys import Signing

# Never sent: delivery.* would cause further deliveries; key.*, name.*, user.* and zones.* belong to no single company.
NEVER_TOLD = ("delivery.", "key.", "name.", "user.", "zones.")
TOLD = tuple(sorted(name for name in STORED_NAMES if not name.startswith(NEVER_TOLD)))
TEST = "endpoint.tested"  # sent to the endpoint that is tested, whatever it subscribes to


class Endpoint(Value, frozen=True):
    """The state of an endpoint: its settings and the secrets that sign deliveries to it."""

    settings: EndpointSettings
    signing: Signing
    deleted: bool = False


def evolve(endpoint: Endpoint | None, event: EndpointEvent) -> Endpoint:
    """Fold an event into the state of an endpoint. Raise ImpossibleHistory if the event cannot follow."""
    match endpoint, event:
        case None, EndpointCreated(settings=settings, secret_id=secret_id):
            return Endpoint(settings=settings, signing=Signing(secret_id=secret_id))
        case Endpoint(deleted=False), EndpointUpdated(settings=settings):
            return replace(endpoint, settings=settings)
        case Endpoint(deleted=False), EndpointSecretRotated(secret_id=secret_id, old_until=until):
            return replace(endpoint, signing=signing_keys.rotate_secret(endpoint.signing, secret_id, until))
        case Endpoint(deleted=False), EndpointDisabled():
            return replace(endpoint, settings=replace(endpoint.settings, enabled=False))
        case Endpoint(deleted=False), EndpointTested():
            return endpoint
        case Endpoint(deleted=False), EndpointDeleted():
            return replace(endpoint, deleted=True)
        case _:
            raise ImpossibleHistory(endpoint, event)


def check_patterns(settings: EndpointSettings) -> None:
    """Raise InvalidField if a pattern of the settings matches no kind of event that is sent."""
    for index, pattern in enumerate(settings.events):
        if not any(matches(pattern, name) for name in TOLD):
            example = "a stored name such as run.fired, a group such as run.*, or *"
            raise InvalidField(f"There are no events '{pattern}': {example} is expected", f"events.{index}")


def matches(pattern: str, name: str) -> bool:
    """Return whether the pattern matches this stored name."""
    return pattern in ("*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1]))


def wants(settings: EndpointSettings, name: str) -> bool:
    """Return whether events with this stored name are sent to the endpoint."""
    return settings.enabled and name in TOLD and any(matches(pattern, name) for pattern in settings.events)


def update(endpoint: Endpoint, settings: EndpointSettings) -> list[EndpointEvent]:
    """Change the settings; nothing is recorded when they are the same. Raise InvalidField as `check_patterns` does."""
    check_patterns(settings)
    return [] if settings == endpoint.settings else [EndpointUpdated(settings=settings)]


def rotate(secret_id: UUID, old_until: datetime | None) -> list[EndpointEvent]:
    """Sign with another secret; the previous one signs as well until `old_until` (None: not any more)."""
    return [EndpointSecretRotated(secret_id=secret_id, old_until=old_until)]


def disable(endpoint: Endpoint, reason: str) -> list[EndpointEvent]:
    """Record that nothing more is sent, and why; nothing if the endpoint is disabled or deleted already."""
    return [EndpointDisabled(reason=reason)] if endpoint.settings.enabled and not endpoint.deleted else []


def test(endpoint: Endpoint) -> list[EndpointEvent]:
    """Ask for a test message. Raise Conflict if the endpoint is disabled."""
    if not endpoint.settings.enabled:
        raise Conflict("The endpoint is disabled: enable it first")
    return [EndpointTested()]


def must_be_there(endpoint: Endpoint | None) -> Endpoint:
    """Return the endpoint. Raise NotFound if it never was or is deleted."""
    if endpoint is None or endpoint.deleted:
        raise NotFound("Webhook endpoint not found")
    return endpoint
