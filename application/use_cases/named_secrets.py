"""Secrets that have names, kept as one record of the vault. Events hold only the id of that record and the names."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from application.event_store.unit_of_work import UnitOfWork
from domain.disclosure import MASK
from domain.errors import InvalidField
from domain.values import Sealed
from domain.webhooks.secret import Secret


class SecretsLost(Exception):
    """The secrets are not in the vault any more."""


def seal(
    work: UnitOfWork, owner_id: UUID, purpose: str, values: Mapping[str, object], company_id: UUID
) -> Sealed | None:
    """Put the values into the vault and return their id and names; None when there are no values."""
    if not values:
        return None
    secret = Secret(msgspec.json.encode(dict(values)))
    return Sealed(id=work.keep(owner_id, purpose, secret, company_id), names=tuple(values))


def reseal(
    work: UnitOfWork, owner_id: UUID, purpose: str, values: Mapping[str, object], old: Sealed | None
) -> Sealed | None:
    """Put the values in the place of the old ones, which are dropped. Values that are the same stay where they are."""
    try:
        if open_secrets(work, old) == values:
            return old
    except SecretsLost:
        pass
    if old is not None:
        work.drop([old.id])
    return seal(work, owner_id, purpose, values, work.company_of(owner_id))


def open_secrets(work: UnitOfWork, sealed: Sealed | None) -> dict[str, Any]:
    """Return name and value of each; raise SecretsLost when they were dropped meanwhile, VaultClosed without the key."""
    if sealed is None:
        return {}
    secret = work.reveal([sealed.id]).get(sealed.id)
    if secret is None or secret.value is None:
        raise SecretsLost
    values: dict[str, Any] = msgspec.json.decode(secret.value)
    return values


def unmask(work: UnitOfWork, values: Mapping[str, object], old: Sealed | None, field: str) -> dict[str, object]:
    """
    Return the values of a field, with the old value in the place of each mask.

    Raises InvalidField for a mask without an old value, such as one in a copy of something else; SecretsLost as above.
    """
    check_masks(values, old, field)
    if MASK not in values.values():
        return dict(values)
    old_values = open_secrets(work, old)
    return {name: old_values.get(name) if value == MASK else value for name, value in values.items()}


def check_masks(values: Mapping[str, object], old: Sealed | None, field: str) -> None:
    """Raise InvalidField for a mask of a name that has no value."""
    for name, value in values.items():
        if value == MASK and (old is None or name not in old.names):
            raise InvalidField(f"{field}.{name}: there is no value that could stay", f"{field}.{name}")
