"""The file of keys: who may read it, when it is read again, what changes it."""

import os
import secrets
from base64 import b64encode

import pytest
from cryptography.exceptions import InvalidTag

from application.secrets.key_ring import CannotRetire, KeyRing, VaultClosed

NONCE = bytes(12)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "secret.keys"


@pytest.fixture
def ring(path):
    ring = KeyRing(path)
    ring.create()
    return ring


def line(key_id):
    return f"{key_id} {b64encode(secrets.token_bytes(32)).decode()}\n"


def write_key_ring(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return KeyRing(path)


def test_a_new_ring_has_one_key_and_is_its_owners_alone(path):
    ring = KeyRing(path)

    assert ring.create()

    assert [ring.current()[0]] == ring.ids()
    assert 0o600 == path.stat().st_mode & 0o777
    assert [path] == list(path.parent.iterdir())


def test_a_ring_that_is_there_is_left_alone(ring, path):
    old_content = path.read_bytes()

    assert not ring.create()
    assert old_content == path.read_bytes()


def test_of_two_who_make_it_at_once_one_does(path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: path.write_text("the other's"))

    assert not KeyRing(path).create()
    assert "the other's" == path.read_text()


def test_an_umask_does_not_open_it(path):
    old_umask = os.umask(0)
    try:
        KeyRing(path).create()
    finally:
        os.umask(old_umask)

    assert 0o600 == path.stat().st_mode & 0o777


def test_an_added_key_comes_first_and_the_others_stay(ring):
    first = ring.ids()

    second = ring.add()

    assert [second, *first] == ring.ids()
    assert second == ring.current()[0]


def test_every_ring_over_a_file_sees_its_change_at_the_next_use(ring, path):
    other = KeyRing(path)
    old_id, old = other.current()

    ring.add()
    sealed = ring.current()[1].encrypt(NONCE, b"hello", None)

    assert ring.ids() == other.ids()
    assert b"hello" == other.current()[1].decrypt(NONCE, sealed, None)
    assert b"hello" == other.cipher(old_id).decrypt(NONCE, old.encrypt(NONCE, b"hello", None), None)
    with pytest.raises(InvalidTag):
        old.decrypt(NONCE, sealed, None)


def test_a_change_that_the_file_system_hides_is_found_when_its_key_is_asked_for(path):
    ring = write_key_ring(path, line("k1"))
    assert ["k1"] == ring.ids()
    old_times = path.stat()
    with path.open("r+") as file:  # the same file, size and time
        file.write(line("k2"))
    os.utime(path, ns=(old_times.st_atime_ns, old_times.st_mtime_ns))
    assert ["k1"] == ring.ids()

    ring.cipher("k2")

    assert ["k2"] == ring.ids()


def test_a_retired_key_is_gone(ring):
    [first] = ring.ids()
    second = ring.add()

    ring.retire(first)

    assert [second] == ring.ids()
    with pytest.raises(VaultClosed, match=f"key {first} is not in"):
        ring.cipher(first)


def test_the_current_key_and_one_that_is_not_there_cannot_be_retired(ring):
    with pytest.raises(CannotRetire, match="current"):
        ring.retire(ring.ids()[0])
    with pytest.raises(CannotRetire, match="k0 is not in"):
        ring.retire("k0")


def test_a_link_to_the_ring_stays_a_link(ring, path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)

    added = KeyRing(link).add()

    assert link.is_symlink()
    assert added == ring.ids()[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_ring_that_others_may_read_is_refused_even_after_it_was_read(ring, path, mode):
    assert ring.ids()
    path.chmod(mode)

    with pytest.raises(VaultClosed, match=f"open to others .mode {mode:04o}.: chmod 600"):
        ring.ids()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no key"),
        ("\n\n", "holds no key"),
        ("k1 YWJj\n", "key 1 is not"),
        ("k1\n", "key 1 is not"),
        (line("K-1"), "key 1 is not"),
        (line("k1") + line("k2").replace(" ", "  "), "key 2 is not"),
        (line("k1") + line("k1"), "key k1 is there twice"),
        ("\xff" + line("k1"), "key 1 is not"),
    ],
    ids=["empty", "blank", "short", "no key", "capitals", "two blanks", "twice", "no ascii"],
)
def test_a_malformed_ring_is_refused_without_a_word_of_what_is_in_it(path, text, why):
    with pytest.raises(VaultClosed, match=why) as refusal:
        write_key_ring(path, text).ids()

    assert refusal.value.__cause__ is None
    assert not any(word in str(refusal.value) for word in text.split() if len(word) > 2)


def test_lines_may_end_as_editors_end_them(path):
    assert ["k1", "k2"] == write_key_ring(path, line("k1").replace("\n", "\r\n") + line("k2").rstrip()).ids()


def test_what_is_missing_or_no_file_is_named(path, tmp_path):
    with pytest.raises(VaultClosed, match=r"secret.keys cannot be read .No such file"):
        KeyRing(path).ids()
    with pytest.raises(VaultClosed, match="is not a file"):
        KeyRing(tmp_path).ids()
    with pytest.raises(VaultClosed, match="ROUTINES_KEY_FILE is not set"):
        KeyRing(None).ids()


def test_a_ring_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(VaultClosed, match=r"keys cannot be written .No such file"):
        KeyRing(tmp_path / "nowhere/keys").create()


def test_a_write_that_fails_leaves_the_ring_as_it_was(ring, path, monkeypatch):
    old_content = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(VaultClosed, match="No space left"):
        ring.add()

    assert old_content == path.read_bytes()
    assert [path] == list(path.parent.iterdir())
