"""What can be erased of an event is sealed in the log under a data key, and reads as ever for whoever has that."""

from base64 import b64decode, b64encode
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import Notification, OperationalError
from psycopg_pool import PoolTimeout

from application.event_store import data_keys, sealing
from application.event_store.codec import UnreadableEvent, all_from_stored, by_stream, encode, from_stored, key_of
from application.event_store.data_keys import DataKeys, LostKey, ReadKeys
from application.event_store.in_memory import MemoryRecorder
from application.event_store.sealing import CannotOpen
from application.event_store.store import EventStore
from application.event_store.stream_cache import memory_of
from domain.erasure import subject_of
from domain.events import CommentAdded, CompanyCreated, ProjectPaused, SlotFreed
from domain.recorded import Recorded, Unreadable
from domain.values import CompanyDetails
from tests.canaries import CANARY, canaries

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
COMPANY = uuid4()


class MemoryKeys:
    """Data keys without a database."""

    def __init__(self, *, is_complete=True):
        self.is_complete = is_complete
        self.keys, self.gone = {}, set()

    def load(self, subject_ids):
        return {id_: self.keys[id_] for id_ in subject_ids if id_ in self.keys}

    def erased_subjects(self):
        return self.gone

    def to_seal(self, subject_id):
        return None if subject_id in self.gone else self.keys.setdefault(subject_id, subject_id.bytes * 2)

    def erase(self, subject_id):
        self.keys.pop(subject_id, None)
        self.gone.add(subject_id)


def record_of(event, **fields):
    envelope = {
        "stream_id": uuid4(),
        "version": 3,
        "at": NOON,
        "actor": "system",
        "company_id": COMPANY,
        "event": event,
    }
    return Recorded(**envelope | fields)


def open_with(keys, stored):
    (events,) = by_stream([stored.originator_id], [stored], keys).values()
    return events[0]


def row(stored):
    return Notification(stored.originator_id, stored.originator_version, stored.topic, stored.state, 1)


@pytest.mark.parametrize("event", canaries(), ids=lambda event: type(event).__name__)
def test_every_kind_of_event_is_read_as_it_was_written_and_nothing_of_it_is_in_the_open(event):
    keys, event_record = MemoryKeys(), record_of(event)
    plain, stored = encode(event_record).stored, encode(event_record, keys=keys).stored

    (read,) = all_from_stored([row(stored)], keys)

    assert read.event == event
    assert CANARY.encode() not in stored.state
    assert (stored.state == plain.state) == (CANARY.encode() not in plain.state)
    assert open_with(keys, plain).event == event, "events of before stay as they are"
    keys.erase(subject_of(event_record.stream_id, COMPANY, event))
    for stored_form in (stored, plain, encode(event_record, keys=keys).stored):
        assert CANARY not in repr(open_with(keys, stored_form))


def test_the_parts_of_an_event_open_at_their_place_only():
    keys = MemoryKeys()
    stored = encode(record_of(CommentAdded(issue_id=uuid4(), body="hello")), keys=keys).stored
    key = key_of(stored, keys)
    assert key is not None

    for other in (
        at_another_place(stored, originator_id=uuid4()),
        at_another_place(stored, originator_version=4),
        at_another_place(stored, state=stored.state.replace(b'"sealed":"', b'"sealed":"AAAA')),
    ):
        with pytest.raises(UnreadableEvent):
            open_with(keys, other)
        assert isinstance(all_from_stored([row(other)], keys)[0].event, Unreadable)
    sealed = sealing.seal(b"1" * 32, COMPANY, 3, b"{}")
    with pytest.raises(CannotOpen):
        sealing.unseal(b"2" * 32, COMPANY, 3, sealed)


def test_what_was_sealed_once_opens_for_ever():
    sealed = (
        "AAECAwQFBgcICQoLDA0OD2RDaUps2M/3dYWmsGldsHxa3/1RghDbwTYQdMdrVgE+XodDZt83d4Z61jMG3VsvkIbFlX3vvm5NjieL0OdsPt4="
    )

    assert b'{"body":"hello"}' == sealing.unseal(b"k" * 32, UUID(int=7), 3, sealed)


@pytest.mark.parametrize(
    ("byte", "reason"),
    [(0, "another key"), (sealing.SALT_BYTES, "another key"), (sealing.BEGINS, "changed"), (-1, "changed")],
)
def test_sealed_parts_of_which_a_bit_was_changed_do_not_open(byte, reason):
    content = bytearray(b64decode(sealing.seal(b"k" * 32, COMPANY, 3, b"{}")))
    content[byte] ^= 1

    with pytest.raises(CannotOpen, match=reason):
        sealing.unseal(b"k" * 32, COMPANY, 3, b64encode(content).decode())


def at_another_place(stored, **fields):
    values = {name: getattr(stored, name) for name in ("originator_id", "originator_version", "topic", "state")}
    return type(stored)(**values | fields)


def test_without_its_key_an_event_of_the_service_cannot_be_read_and_a_reader_without_rights_sees_that_it_is_sealed():
    stored = encode(record_of(CommentAdded(issue_id=uuid4(), body="hello")), keys=MemoryKeys()).stored

    with pytest.raises(UnreadableEvent, match="no data key"):
        open_with(MemoryKeys(), stored)
    for keys in (None, MemoryKeys(is_complete=False)):
        assert "[sealed]" == open_with(keys, stored).event.body


def test_the_memory_of_an_event_is_estimated_from_what_it_is_when_it_is_open():
    keys, event = MemoryKeys(), CommentAdded(issue_id=uuid4(), body="hello " * 1_000)
    store = EventStore(MemoryRecorder(), keys=keys)
    stored, plain = store.encode(record_of(event))

    read = open_with(keys, stored)

    assert plain == encode(record_of(event)).stored.state
    assert abs(read.memory - memory_of(event, plain)) < 1_000
    assert read.size == len(stored.state)


def test_a_process_makes_one_key_for_each_company_and_forgets_them_all_soon_after_one_was_destroyed(
    system, admin_url, monkeypatch
):
    now = [100.0]
    monkeypatch.setattr("application.event_store.data_keys.time.monotonic", lambda: now[0])
    keys, others, forgotten = DataKeys(system.pool), DataKeys(system.pool), []
    keys.on_erasure(lambda: forgotten.append(now[0]))
    company, other = uuid4(), uuid4()
    key = keys.to_seal(company)
    assert key == others.to_seal(company)
    assert keys.to_seal(other) not in (None, key)

    with psycopg.connect(admin_url, autocommit=True) as conn:
        data_keys.destroy(conn, company)
    now[0] += data_keys.LOOK_S - 0.1
    assert keys.load({company}) == {company: key}, "for a few seconds"
    now[0] += 0.2

    assert keys.load({company, other}) == {other: others.load({other})[other]}
    assert keys.erased_subjects() == {company}
    assert keys.to_seal(company) is None
    assert keys.fetch({company, other}), "more than that there is not"
    assert forgotten == [now[0]]


def test_a_process_keeps_the_newest_of_so_many_keys(monkeypatch):
    monkeypatch.setattr(data_keys, "CACHED", 2)
    monkeypatch.setattr(data_keys, "_fetch_erased", lambda _conn: frozenset())
    monkeypatch.setattr(data_keys, "_read", lambda _conn, ids: dict.fromkeys(ids, b"key"))
    pool: Any = SimpleNamespace(connection=nullcontext)
    keys, companies = DataKeys(pool), [uuid4() for _ in range(4)]

    for company in companies:
        assert {company: b"key"} == keys.load({company})

    assert set(companies[2:]) == keys.at_hand(set(companies)).keys()


def test_while_the_database_is_away_a_key_is_not_there_and_not_lost():
    def connection():
        raise PoolTimeout

    pool: Any = SimpleNamespace(connection=connection)
    with pytest.raises(OperationalError):
        DataKeys(pool).to_seal(uuid4())


def test_no_other_key_takes_the_place_of_one_that_is_lost(system, admin_url):
    company = uuid4()
    event = CompanyCreated(details=CompanyDetails(name="Acme"), issue_prefix="ACM")
    system.store.append([record_of(event, stream_id=company, company_id=company, version=1)])
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute("DELETE FROM vault.data_keys WHERE subject_id = %s", (company,))
        keys = DataKeys(system.pool)

        assert not keys.fetch({company})
        with pytest.raises(LostKey, match=str(company)):
            keys.to_seal(company)

        assert conn.execute("SELECT FROM vault.data_keys WHERE subject_id = %s", (company,)).fetchone() is None


def test_what_is_recorded_of_somebody_who_is_erased_is_erased_before_it_is_stored():
    keys = MemoryKeys()
    keys.erase(COMPANY)

    stored = encode(record_of(ProjectPaused(reason="hello")), keys=keys).stored

    assert b"hello" not in stored.state
    assert b"sealed" not in stored.state
    assert "[erased]" == from_stored(stored).event.reason


def test_a_login_that_may_not_read_the_keys_reads_the_rest(system, admin_url):
    store = system.store
    store.append(
        [
            record_of(ProjectPaused(reason="hello"), version=1),
            record_of(SlotFreed(routine_id=COMPANY, issue_id=COMPANY), version=1),
        ]
    )
    rows = store.recorder.select_notifications(0, 10, inclusive_of_start=False)

    def reasons(login):
        with psycopg.connect(admin_url.replace("postgres@", f"{login}@"), autocommit=True) as conn:
            return [getattr(one.event, "reason", None) for one in all_from_stored(rows, ReadKeys(conn))]

    assert ["hello", None] == reasons("routines_auditor")
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute("REVOKE SELECT ON vault.data_keys FROM routines_auditor")
    assert ["[sealed]", None] == reasons("routines_auditor")
