"""The secret that signs what is sent or called, and the one before it, good beside it for a while after a rotation."""

from datetime import datetime
from uuid import UUID

from domain.values import Value


class OldSecret(Value, frozen=True):
    """A secret that was rotated out, and is good beside the new one until then."""

    id: UUID
    until: datetime


class Signing(Value, frozen=True):
    """The vault's ids of the secrets."""

    secret_id: UUID
    old: OldSecret | None = None


def rotated(signing: Signing | None, secret_id: UUID, old_until: datetime | None) -> Signing:
    """With another secret; the one before stays until `old_until` (None: it is gone at once)."""
    if signing is None or old_until is None:
        return Signing(secret_id=secret_id)
    return Signing(secret_id=secret_id, old=OldSecret(id=signing.secret_id, until=old_until))


def ids(signing: Signing) -> list[UUID]:
    """All that are in the vault, the current one first."""
    return [signing.secret_id, *([signing.old.id] if signing.old else [])]


def good(signing: Signing, now: datetime) -> list[UUID]:
    """Those that sign now."""
    return ids(signing) if signing.old is None or now < signing.old.until else [signing.secret_id]
