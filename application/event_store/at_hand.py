"""
What decisions in an event loop rest on: what is at hand in memory, since the loop must not wait in the middle of one.

A decision that needs streams which are not at hand is broken off by Missing, which says which. They are loaded, and the
decision is taken again: a use case may be run several times. One that needs anything else, or would take long, is broken
off by NeedsThread: a thread takes it by the steps that block. Data keys that are not at hand break it off by MissingKeys; a
thread fetches them, and the decision stays in the loop.

These are no Exceptions, so that no rule takes them for an error of its own.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from application.event_store.codec import Encoded, encode
from application.event_store.data_keys import DataKeys
from application.event_store.store import ReadBudget
from application.event_store.stream_cache import CachedStream, StreamCache
from application.secrets.vault import Vault
from domain.bounds.limits import Limits
from domain.recorded import Recorded
from domain.routines.budget import Owner, WindowSpending
from domain.values import Budget
from domain.webhooks.secret import Secret

# Bytes of memory: a stream that is larger is decided on in a thread, since it would block the event loop.
HEAVY_BYTES = 64 * 1024


class Missing(BaseException):
    """A decision needs streams that are not at hand."""

    def __init__(self, stream_ids: Sequence[UUID], read_from: str | None) -> None:
        super().__init__()
        self.stream_ids = stream_ids
        self.read_from = read_from


class NeedsThread(BaseException):
    """A decision is to be taken by a thread."""


class MissingKeys(BaseException):
    """
    A decision needs data keys that are not at hand, or it is time to look whether they are still good.

    With `to_seal` it needs one for something new, which is made if there is none yet.
    """

    def __init__(self, subject_ids: Collection[UUID] = (), *, to_seal: UUID | None = None) -> None:
        super().__init__()
        self.subject_ids, self.to_seal = subject_ids, to_seal


class StreamsAtHand:
    """Stands for the event store in one decision: it gives the streams that have been loaded for it."""

    def __init__(self, limits: Limits, keys: "KeysAtHand | None" = None) -> None:
        self.limits = limits
        self.keys = keys
        self._streams: dict[tuple[UUID, str | None], list[Recorded]] = {}

    def encode(self, recorded: Recorded) -> Encoded:
        """Encode an event as it is stored. Raises Oversized, and MissingKeys when its key is not at hand."""
        return encode(recorded, self.limits, self.keys)

    def put(self, streams: Mapping[UUID, list[Recorded]], read_from: str | None) -> None:
        """Take streams that were loaded. Raises NeedsThread for a heavy one."""
        for id_, recorded in streams.items():
            if sum(event.memory for event in recorded) > HEAVY_BYTES:
                raise NeedsThread
            self._streams[id_, read_from] = recorded

    def load(
        self, stream_ids: Sequence[UUID], read_from: str | None = None, budget: ReadBudget | None = None
    ) -> dict[UUID, list[Recorded]]:
        """Return the events of each stream. Raises Missing, and Oversized as the store does."""
        if missing := [id_ for id_ in stream_ids if (id_, read_from) not in self._streams]:
            raise Missing(missing, read_from)
        streams = {id_: self._streams[id_, read_from] for id_ in stream_ids}
        if budget is not None:
            budget.spend(sum(event.size for recorded in streams.values() for event in recorded))
        return streams


class LightStreams:
    """The streams of a cache. Raises NeedsThread for a heavy one."""

    def __init__(self, cache: StreamCache) -> None:
        self._cache = cache

    def get(self, stream_id: UUID) -> CachedStream | None:
        """Return a stream as it was put last, or None when it is not cached."""
        stream = self._cache.get(stream_id)
        if stream is not None and stream.size > HEAVY_BYTES:
            raise NeedsThread
        return stream


class OpenedSecrets:
    """The secrets that the process has opened before. Raises NeedsThread for others."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def open(self, ids: Sequence[UUID]) -> dict[UUID, Secret]:
        """Return the secrets by id."""
        secrets = self._vault.find_opened(ids)
        if len(secrets) < len(ids):
            raise NeedsThread
        return secrets


class KeysAtHand:
    """The data keys that the process has in memory. Raises MissingKeys for others."""

    is_complete = True

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    def load(self, subject_ids: set[UUID]) -> dict[UUID, bytes]:
        """Return the keys of these companies and users."""
        erased_ids, keys = self.erased_subjects(), self._keys.at_hand(subject_ids)
        if missing := [id_ for id_ in subject_ids if id_ not in keys and id_ not in erased_ids]:
            raise MissingKeys(missing)
        return keys

    def erased_subjects(self) -> Collection[UUID]:
        """Return the companies and users whose keys are destroyed."""
        if not self._keys.is_fresh():
            raise MissingKeys
        return self._keys.erased_subjects()

    def to_seal(self, subject_id: UUID) -> bytes | None:
        """Return the key for something new; None if it is destroyed."""
        key = self._keys.at_hand({subject_id}).get(subject_id)
        if subject_id not in self.erased_subjects() and key is None:
            raise MissingKeys(to_seal=subject_id)
        return key


class QuotasElsewhere:
    """Stands for the quotas, of which only decisions of the service itself ask in their midst."""

    def __getattr__(self, name: str) -> Any:
        raise NeedsThread


def spent_elsewhere(_owner: Owner, _owner_id: UUID, _budget: Budget, _now: datetime) -> WindowSpending:
    """Leave it to a thread to add up what runs have cost."""
    raise NeedsThread
