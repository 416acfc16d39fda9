"""Secrets at rest: what opens, what does not, and how the key is changed while everything runs."""

import random
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from application.secrets import vault as vaults
from application.secrets.key_ring import CannotRetire, KeyRing, VaultClosed
from application.secrets.vault import Vault, VaultRecord
from domain.webhooks.secret import Secret
from tests.waiting import wait_for

VALUE = b"0123456789abcdef0123456789abcdef0123456789abcdef"
PLACES = st.tuples(st.uuids(), st.uuids(), st.uuids(), st.text())


@pytest.fixture
def system(shared_system):
    """All tests have the same database, and begin without secrets."""
    execute_sql(shared_system, "DELETE FROM vault.secrets")
    return shared_system


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "secret.keys"
    KeyRing(path).create()
    return path


@pytest.fixture
def vault(system, path):
    return Vault(system.pool, KeyRing(path))


@pytest.fixture
def open_vault(system, path):
    """The vault as another process has it: nothing opened yet, the ring not yet read."""
    return lambda: Vault(system.pool, KeyRing(path))


def vault_record(value=VALUE, **more):
    place: dict[str, Any] = {"id": uuid4(), "company_id": uuid4(), "owner_id": uuid4(), "purpose": "webhook"} | more
    return VaultRecord(**place, secret=value if isinstance(value, Secret) else Secret(value))


def values(vault, records):
    opened = vault.open([record.id for record in records])
    return [opened[record.id].value for record in records]


def execute_sql(system, statement, *arguments):
    with system.pool.connection() as conn:
        return conn.execute(statement, arguments)


@contextmanager
def in_threads(work, many=1) -> Iterator[None]:
    """Does the work again and again until the end of the `with`, and raises what it raised."""
    stop = threading.Event()

    def again():
        while not stop.is_set():
            work()

    with ThreadPoolExecutor(many) as threads:
        working = [threads.submit(again) for _ in range(many)]
        try:
            yield
        finally:
            stop.set()
        for one in working:
            one.result()


# Keeping and opening


def test_what_is_kept_opens_to_the_same(vault, open_vault):
    records = [vault_record(value) for value in (VALUE, b"", b"\0", bytes(range(256)), random.randbytes(100_000))]

    vault.keep(records)

    assert [record.secret.value for record in records] == values(vault, records) == values(open_vault(), records)


def test_what_was_kept_once_opens_for_ever(system, tmp_path):
    path = tmp_path / "old.keys"
    path.write_bytes(b"k1 " + b64encode(b"k" * 32) + b"\n")
    path.chmod(0o600)
    content = bytes(12) + bytes.fromhex("930b83c8aaca588ef9cb00f9ed468146ac0321a17f4c")
    ids = [UUID(int=number) for number in (1, 2, 3)]
    execute_sql(
        system,
        "INSERT INTO vault.secrets (id, company_id, owner_id, purpose, key_id, content) VALUES (%s, %s, %s, %s, %s, %s)",
        *(*ids, "webhook", "k1", content),
    )

    assert b"sesame" == Vault(system.pool, KeyRing(path)).open(ids[:1])[ids[0]].value


def test_the_database_has_neither_the_value_nor_its_hash(vault, system):
    record = vault_record()
    vault.keep([record])

    [row] = execute_sql(system, "SELECT key_id, content FROM vault.secrets").fetchall()

    assert vault.ring.ids() == [row[0]]
    assert VALUE not in row[1]
    assert record.secret.digest not in row[1]
    assert 12 + len(VALUE) + 16 == len(row[1])


def test_the_same_value_is_never_kept_alike(vault, system):
    vault.keep([vault_record() for _ in range(50)])

    assert (50, 50) == execute_sql(
        system, "SELECT count(DISTINCT content), count(DISTINCT substr(content, 1, 12)) FROM vault.secrets"
    ).fetchone()


def test_of_a_secret_without_value_only_the_hash_is_kept(vault, open_vault, system):
    record = vault_record(Secret(digest=Secret(VALUE).digest))
    vault.keep([record])

    opened = open_vault().open([record.id])[record.id]

    assert opened.value is None
    assert opened.is_known_as(VALUE)
    assert not opened.is_known_as(VALUE + b"0")
    assert (None, record.secret.digest) == execute_sql(system, "SELECT key_id, content FROM vault.secrets").fetchone()


def test_unknown_and_dropped_ones_are_left_out(vault, open_vault):
    stays, goes = vault_record(), vault_record()
    vault.keep([stays, goes])
    assert {stays.id, goes.id} == vault.open([stays.id, goes.id]).keys()

    vault.drop([goes.id, uuid4()])

    for one in (vault, open_vault()):
        assert {stays.id} == one.open([stays.id, goes.id, uuid4()]).keys()


def test_all_are_kept_or_none(vault):
    first, second = vault_record(), vault_record()
    vault.keep([first])

    with pytest.raises(psycopg.errors.UniqueViolation):
        vault.keep([second, first])

    assert {} == vault.open([second.id])


def test_to_keep_drop_and_open_no_secrets_does_nothing(vault):
    vault.keep([])
    vault.drop([])

    assert {} == vault.open([])


def test_what_is_open_is_not_fetched_again_and_memory_is_bounded(vault, system, monkeypatch):
    monkeypatch.setattr(vaults, "CACHED", 3)
    records = [vault_record() for _ in range(4)]
    vault.keep(records)
    for record in records:
        vault.open([record.id])

    execute_sql(system, "DELETE FROM vault.secrets")

    assert {record.id for record in records[1:]} == vault.open([record.id for record in records]).keys()


def test_what_is_forgotten_is_fetched_again(vault, open_vault):
    record = vault_record()
    vault.keep([record])
    values(vault, [record])
    open_vault().drop([record.id])
    assert [VALUE] == values(vault, [record])

    vault.close_opened()

    assert {} == vault.open([record.id])


# What does not open


def test_no_record_opens_with_the_content_of_another(vault, open_vault, system):
    one = {"company_id": uuid4(), "owner_id": uuid4(), "purpose": "webhook"}
    records = [
        vault_record(b"a", **one),
        vault_record(b"b", **one),
        vault_record(b"c", **one | {"purpose": "other"}),
        vault_record(b"d"),
        vault_record(b"a"),
    ]
    vault.keep(records)
    contents = dict(execute_sql(system, "SELECT id, content FROM vault.secrets").fetchall())

    for here, other in permutations(records, 2):
        execute_sql(system, "UPDATE vault.secrets SET content = %b WHERE id = %b", contents[other.id], here.id)
        with pytest.raises(VaultClosed, match=f"secret {here.id} does not decrypt"):
            open_vault().open([here.id])
        execute_sql(system, "UPDATE vault.secrets SET content = %b WHERE id = %b", contents[here.id], here.id)

    assert [b"a", b"b", b"c", b"d", b"a"] == values(open_vault(), records)


@pytest.mark.parametrize(
    "moved", ["id = gen_random_uuid()", "company_id = owner_id", "owner_id = company_id", "purpose = 'webhooks'"]
)
def test_a_record_that_was_moved_does_not_open(vault, open_vault, system, moved):
    vault.keep([vault_record()])

    [(id_,)] = execute_sql(system, f"UPDATE vault.secrets SET {moved} RETURNING id").fetchall()

    with pytest.raises(VaultClosed):
        open_vault().open([id_])


@for_all(PLACES, PLACES)
def test_no_two_places_are_the_same_to_the_encryption(here, there):
    assert (here == there) == (vaults._bound_data(*here) == vaults._bound_data(*there))


def test_a_record_with_a_flipped_bit_does_not_open(vault, open_vault, system):
    record = vault_record()
    vault.keep([record])
    bits = execute_sql(system, "SELECT 8 * octet_length(content) FROM vault.secrets").fetchone()[0]
    flip = "UPDATE vault.secrets SET content = set_bit(content, %b, 1 - get_bit(content, %b))"

    for bit in range(0, bits, 7):
        execute_sql(system, flip, bit, bit)
        with pytest.raises(VaultClosed):
            open_vault().open([record.id])
        execute_sql(system, flip, bit, bit)

    assert [VALUE] == values(open_vault(), [record])


def test_a_record_of_a_key_that_is_not_in_the_ring_does_not_open(vault, open_vault, path):
    record = vault_record()
    vault.keep([record])
    lost = path.read_bytes()
    path.unlink()
    KeyRing(path).create()

    with pytest.raises(VaultClosed, match="is not in"):
        open_vault().open([record.id])

    with path.open("ab") as file:
        file.write(lost)
    assert [VALUE] == values(open_vault(), [record])


def test_without_a_key_file_hashes_are_kept_and_nothing_else(system):
    vault = Vault(system.pool, KeyRing(None))
    hashed = vault_record(Secret(digest=Secret(VALUE).digest))

    vault.keep([hashed])
    with pytest.raises(VaultClosed, match="ROUTINES_KEY_FILE is not set"):
        vault.keep([vault_record(), vault_record(Secret(digest=bytes(32)))])

    assert vault.open([hashed.id])[hashed.id].is_known_as(VALUE)
    assert {} == vault.keys_in_use()
    assert (1,) == execute_sql(system, "SELECT count(*) FROM vault.secrets").fetchone()


def test_a_key_file_that_others_may_read_closes_the_vault(vault, open_vault, path):
    record = vault_record()
    vault.keep([record])
    path.chmod(0o644)

    for ask in (lambda: vault.keep([vault_record()]), lambda: open_vault().open([record.id]), lambda: vault.reseal(10)):
        with pytest.raises(VaultClosed, match="open to others"):
            ask()


# Who may look


def test_the_auditor_reads_the_log_and_no_secret(vault, system):
    vault.keep([vault_record()])

    with psycopg.connect(system.settings.database_url.replace("routines_service@", "routines_auditor@")) as conn:
        assert (0,) == conn.execute("SELECT count(*) FROM log.events").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT id FROM vault.secrets")


def test_neither_key_nor_secret_is_shown(vault, open_vault, path, system, caplog):
    caplog.set_level("DEBUG")
    record = vault_record()
    vault.keep([record])
    displayed = [repr(record), repr(vault.__dict__), repr(vault.ring.__dict__), repr(vault.open([record.id]))]
    for spoil in ("content = content || '\\x00'", "purpose = 'x'", "key_id = 'k0'"):
        execute_sql(system, f"UPDATE vault.secrets SET {spoil}")
        displayed.append(reason_of_refusal(lambda: open_vault().open([record.id])))
    displayed.append(reason_of_refusal(lambda: vault.keep([record])))
    path.write_bytes(path.read_bytes() * 2)
    displayed.append(reason_of_refusal(vault.ring.ids))
    texts = "\n".join([*displayed, caplog.text])

    key = b64decode(path.read_bytes().split()[1])
    assert not [word for word in spellings(key) if word in texts]
    assert not [word for word in spellings(VALUE) if word in texts]


def reason_of_refusal(ask):
    with pytest.raises((VaultClosed, psycopg.Error)) as refusal:
        ask()
    return f"{refusal.value!r} {refusal.value} {refusal.value.__cause__!r}"


def spellings(value):
    return [repr(value)[2:-1], value.hex(), b64encode(value).decode()]


# Changing the key


def key_ids_of(vault):
    return list(vault.keys_in_use())


def test_every_vault_over_a_ring_follows_its_rotation(vault, open_vault):
    here, there = vault, open_vault()
    before, after = vault_record(b"before"), vault_record(b"after")
    there.keep([before])
    [old] = key_ids_of(there)

    new = here.add_key()
    there.keep([after])

    assert {old: 1, new: 1} == here.keys_in_use()
    assert [b"before", b"after"] == values(here, [before, after]) == values(open_vault(), [before, after])
    assert 1 == here.reseal(10)
    assert {new: 2} == here.keys_in_use()
    here.retire_key(old)
    assert [b"before", b"after"] == values(there, [before, after]) == values(open_vault(), [before, after])


def test_a_rotation_that_is_cut_off_leaves_everything_readable_and_can_go_on(vault, open_vault):
    records = [vault_record(str(n).encode()) for n in range(20)] + [vault_record(Secret(digest=bytes(32)))]
    vault.keep(records)
    [old] = key_ids_of(vault)
    new = vault.add_key()

    assert 7 == vault.reseal(7)

    assert {old: 13, new: 7} == vault.keys_in_use()
    assert [record.secret.value for record in records] == values(open_vault(), records)
    with pytest.raises(CannotRetire, match="13 secrets"):
        vault.retire_key(old)
    assert [13, 0] == [open_vault().reseal(100), open_vault().reseal(100)]
    assert {new: 20} == vault.keys_in_use()


def test_nothing_is_encrypted_anew_without_need(vault, system):
    vault.keep([vault_record(), vault_record(Secret(digest=bytes(32)))])
    before = execute_sql(system, "SELECT * FROM vault.secrets ORDER BY id").fetchall()

    assert 0 == vault.reseal(100)
    assert before == execute_sql(system, "SELECT * FROM vault.secrets ORDER BY id").fetchall()


def test_a_record_of_a_lost_key_is_not_in_the_way_of_the_others(vault, open_vault, system):
    records = [vault_record() for _ in range(3)]
    vault.keep(records)
    execute_sql(system, "UPDATE vault.secrets SET key_id = 'k0' WHERE id = %b", records[0].id)
    new = vault.add_key()

    assert 2 == vault.reseal(100)
    assert {"k0": 1, new: 2} == vault.keys_in_use()


def test_a_record_that_somebody_holds_is_left_for_later(vault, system):
    records = [vault_record() for _ in range(3)]
    vault.keep(records)
    vault.add_key()

    with system.pool.connection() as conn, conn.transaction():
        conn.execute("SELECT FROM vault.secrets WHERE id = %b FOR UPDATE", (records[0].id,))
        assert 2 == vault.reseal(10)

    assert 1 == vault.reseal(10)


def test_rotations_at_the_same_time_share_the_work(vault, open_vault):
    records = [vault_record(str(n).encode()) for n in range(400)]
    vault.keep(records)
    new = vault.add_key()

    def rotate(_):
        own_vault, resealed_count = open_vault(), 0
        while list(own_vault.keys_in_use()) != [new]:
            resealed_count += own_vault.reseal(30)
        return resealed_count

    with ThreadPoolExecutor(3) as threads:
        assert 400 == sum(threads.map(rotate, range(3)))
    assert [record.secret.value for record in records] == values(open_vault(), records)


def test_a_rotation_of_2000_is_noticed_by_nobody_who_opens_or_keeps_meanwhile(vault, open_vault):
    records = [vault_record(str(n).encode()) for n in range(2_000)]
    vault.keep(records)
    [old] = key_ids_of(vault)
    since: list[VaultRecord] = []
    opened = 0

    def look():
        nonlocal opened
        sample = random.sample(records, 20)
        assert [record.secret.value for record in sample] == values(open_vault(), sample)
        opened += 20

    def add():
        since.append(vault_record(uuid4().bytes))
        open_vault().keep(since[-1:])

    with in_threads(look, many=2), in_threads(add):
        wait_for(lambda: opened and since)
        new = vault.add_key()
        while vault.reseal(100):
            pass
        opened_secrets = opened
        wait_for(lambda: opened > opened_secrets)

    assert {new: 2_000 + len(since)} == vault.keys_in_use()
    vault.retire_key(old)
    everything = [*records, *since]
    assert [record.secret.value for record in everything] == values(open_vault(), everything)


def test_the_ring_is_not_changed_while_somebody_encrypts(vault, open_vault, system):
    paused, go_on = threading.Event(), threading.Event()
    slow = open_vault()
    current = slow.ring.current

    def pause():
        value = current()
        paused.set()
        go_on.wait()
        return value

    slow.ring.current = pause
    record = vault_record()
    [old] = vault.ring.ids()
    with ThreadPoolExecutor(2) as threads:
        keeping = threads.submit(slow.keep, [record])
        paused.wait()
        adding = threads.submit(vault.add_key)
        try:
            wait_for(lambda: execute_sql(system, "SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())
            assert [old] == vault.ring.ids()
        finally:
            go_on.set()
        keeping.result()
        new = adding.result()

    assert [new, old] == vault.ring.ids()
    assert {old: 1} == vault.keys_in_use()
    assert [VALUE] == values(open_vault(), [record])
