"""The file of the key that signs: made once, refused when it is open to others or damaged, and never printed."""

from pathlib import Path

import pytest
from tlog_scales.signing import Vkey

from application.proof import log_key
from application.proof.log_key import CannotSign
from domain.proof.checkpoints import Head


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.key"
    assert log_key.create(path, "example.org/log")
    return path


def test_a_key_is_made_once_and_is_its_owners_alone(path):
    content = path.read_bytes()

    assert not log_key.create(path, "other")
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_signs_the_same_each_time_and_does_not_print_itself(path):
    key, again = log_key.read(path), log_key.read(path)
    head = Head(size=3, root=bytes(32))

    assert key.sign("example.org/log", head) == again.sign("example.org/log", head)
    assert repr(key) == "LogKey(example.org/log)"


def test_foreign_programs_read_its_verifier_key(path):
    read = Vkey.from_string(log_key.read(path).verifier_key("example.org/log"))

    assert read.name == "example.org/log"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "is not there"),
        (lambda path: path.chmod(0o640), "is open to others"),
        (lambda path: path.write_text("nothing"), "is not a key"),
        (lambda path: path.write_bytes(b"\xff"), "is no text"),
        (lambda path: path.write_text(path.read_text().replace("example.org/log", "example.org/lot")), "is damaged"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_with_a_sentence_that_does_not_hold_it(path, change, words):
    secret = path.read_text().split("+", 4)[-1].strip()
    change(path)

    with pytest.raises(CannotSign) as refusal:
        log_key.read(path)

    assert words in str(refusal.value)
    assert secret not in str(refusal.value)


def test_a_log_has_a_name_of_its_own():
    assert log_key.new_name() != log_key.new_name()
    assert log_key.is_name(log_key.new_name())
    assert not any(
        map(log_key.is_name, ("", "a b", "a+b", "/a", "a//b", "x" * 201, "ç", "a/companies/b", "../a", "a/./b"))
    )
