"""Secrets that sign: made, kept, and let go when another takes their place."""

from datetime import datetime, timedelta
from uuid import UUID

from application.event_store.unit_of_work import UnitOfWork
from domain.webhooks import signing_keys, verification
from domain.webhooks.secret import Secret
from domain.webhooks.signing_keys import Signing


def mint(work: UnitOfWork, owner_id: UUID, company_id: UUID, purpose: str) -> tuple[UUID, str]:
    """A new secret of Standard Webhooks: the vault's id of it, and the secret itself."""
    secret = verification.mint("standard_webhooks")
    return work.keep(owner_id, purpose, Secret(secret.encode()), company_id), secret


def retire(work: UnitOfWork, old: Signing | None, overlap_s: int) -> datetime | None:
    """Until when the one before signs beside a new one (None: no more); what signs nothing then leaves the vault."""
    until = work.now + timedelta(seconds=overlap_s) if overlap_s else None
    ids = [] if old is None else signing_keys.ids(old)
    work.drop(ids[1:] if until else ids)
    return until
