"""Secrets that sign: they are minted, kept in the vault, and retired when another takes their place."""

from datetime import datetime, timedelta
from uuid import UUID

from application.event_store.unit_of_work import UnitOfWork
from domain.webhooks import signing_keys, verification
from domain.webhooks.secret import Secret
from domain.webhooks.signing_keys import Signing


def mint(work: UnitOfWork, owner_id: UUID, company_id: UUID, purpose: str) -> tuple[UUID, str]:
    """Return the vault's id of a new secret of Standard Webhooks, and the secret itself."""
    secret = verification.mint("standard_webhooks")
    return work.keep(owner_id, purpose, Secret(secret.encode()), company_id), secret


def retire(work: UnitOfWork, old: Signing | None, overlap_s: int) -> datetime | None:
    """Return until when the old secret signs beside a new one, or None; drop the secrets that sign nothing any more."""
    until = work.now + timedelta(seconds=overlap_s) if overlap_s else None
    ids = [] if old is None else signing_keys.ids(old)
    work.drop(ids[1:] if until else ids)
    return until
