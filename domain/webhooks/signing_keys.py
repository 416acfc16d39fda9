"""The secret that signs what is sent or called, and the previous one, which is accepted for a while after a rotation."""

from datetime import datetime
from uuid import UUID

from domain.values import Value


class OldSecret(Value, frozen=True):
    """A secret that was rotated out; it is accepted together with the new one `until` then."""

    id: UUID
    until: datetime


class Signing(Value, frozen=True):
    """The vault's ids of the current secret and of the previous one, if that was given time."""

    secret_id: UUID
    old: OldSecret | None = None


def rotate_secret(signing: Signing | None, secret_id: UUID, old_until: datetime | None) -> Signing:
    """Return the signing secrets after a rotation; the current one is accepted until `old_until` (None: not any more)."""
    if signing is None or old_until is None:
        return Signing(secret_id=secret_id)
    return Signing(secret_id=secret_id, old=OldSecret(id=signing.secret_id, until=old_until))


def ids(signing: Signing) -> list[UUID]:
    """Return the ids of all secrets that are in the vault, the current one first."""
    return [signing.secret_id, *([signing.old.id] if signing.old else [])]


def signing_secret_ids(signing: Signing, now: datetime) -> list[UUID]:
    """Return the ids of the secrets that sign now, the current one first."""
    return ids(signing) if signing.old is None or now < signing.old.until else [signing.secret_id]
