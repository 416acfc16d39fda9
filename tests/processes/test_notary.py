"""The notary keeps the trees at the head of the log, signs what has grown, and never two histories of one name."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import metamorphic_log as foreign
import psycopg
import pytest
from structlog.testing import capture_logs

from application.proof import log_key, signed_heads
from application.proof.log_key import CannotSign
from domain.proof.checkpoints import Head, head_of
from processes.notary import Notary
from projections.engine.table import Connection
from projections.proof import log_tree
from projections.proof.log_tree import WHOLE_LOG
from routines import bootstrap
from routines.bootstrap import System
from web.http.backend import Backend
from web.monitoring.checkup import Checkup

COMPANY = UUID(int=7)
NEVER_S = 3_600.0


@pytest.fixture
def conn(system: System) -> Iterator[Connection]:
    with bootstrap.connect(system.settings) as conn:
        log_tree.begin(conn)
        yield conn


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "log.key"
    assert bootstrap.make_log_key(str(path))
    return path


@pytest.fixture
def append(conn: Connection):
    def append(count: int = 1, company: UUID | None = None) -> None:
        ending = f',"company_id":"{company}"}}' if company else "}"
        body = ('{"at":"2026-11-29T00:00:00Z","actor":"system","event":{"type":"x"}' + ending).encode()
        streams = [uuid4() for _ in range(count)]
        arguments = (streams, [1] * count, ["agent.paused"] * count, [body] * count, [], [])
        conn.execute("SELECT log.append(%b, %b, %b, %b, %b, %b)", arguments)

    return append


def finish(notary: Notary, conn: Connection) -> None:
    while notary.step(conn):
        pass


def notary_due(key_file: Path | None, directory: Path | None = None) -> Notary:
    """One for which it is always time to sign."""
    return Notary(key_file, 0.0, directory)


def set_back(admin_url: str, position: int) -> None:
    """What a restored backup does: the log ends earlier, and what followed from its end has gone as well."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("ALTER TABLE log.events DISABLE TRIGGER ALL")
        admin.execute("ALTER TABLE log.head DISABLE TRIGGER ALL")
        admin.execute("DELETE FROM log.events WHERE position > %s", (position,))
        admin.execute(
            "UPDATE log.head SET position = %s, hash = coalesce((SELECT hash FROM log.events WHERE position = %s), '')",
            (position, position),
        )


def test_the_whole_log_and_each_company_get_a_checkpoint_that_a_foreign_verifier_takes(conn, key_file, append):
    append(3)
    append(2, COMPANY)

    finish(notary_due(key_file), conn)

    name = log_key.read(key_file).name
    for id_, size, origin in ((WHOLE_LOG, 5, name), (COMPANY, 2, f"{name}/companies/{COMPANY}")):
        state = log_tree.state_of(conn, id_)
        head = foreign.checkpoint_verify(state.checkpoint, [state.verifier_key])
        assert (head.origin, head.size, state.signed_size) == (origin, size, size)
        assert head.root == log_tree.tree(conn, id_).root(size)


def test_nothing_is_signed_before_its_time_unless_somebody_waits_for_it(conn, key_file, append):
    notary = Notary(key_file, NEVER_S)
    append()
    finish(notary, conn)
    append(4, COMPANY)
    finish(notary, conn)
    assert log_tree.state_of(conn, WHOLE_LOG).signed_size == 1

    log_tree.want_checkpoint(conn, COMPANY, 3)
    finish(notary, conn)

    assert log_tree.state_of(conn, COMPANY).signed_size == 4
    assert log_tree.state_of(conn, WHOLE_LOG).signed_size == 1


def test_without_a_key_the_trees_grow_and_nothing_is_signed(conn, append):
    append(2)

    finish(notary_due(None), conn)

    state = log_tree.state_of(conn, WHOLE_LOG)
    assert (state.size, state.checkpoint) == (2, None)


def test_a_directory_for_checkpoints_that_no_key_signs_is_named_in_the_log(tmp_path):
    with capture_logs() as lines:
        Notary(None, 0, tmp_path)
        Notary(tmp_path / "log.key", 0, tmp_path)
        Notary(None, 0)

    (line,) = lines
    assert ("setting_ignored", True) == (line["event"], line["why"].startswith("ROUTINES_CHECKPOINT_DIR has no effect"))


def test_a_checkpoint_is_a_file_of_its_own_as_well(conn, key_file, append, tmp_path):
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    notary = notary_due(key_file, directory)
    for _ in range(2):
        append()
        finish(notary, conn)

    name = log_key.read(key_file).name
    files = sorted((directory / name).iterdir())
    assert [head_of(file.read_text()).size for file in files] == [1, 2]
    assert files[-1].read_text() == log_tree.state_of(conn, WHOLE_LOG).checkpoint


def test_a_directory_that_is_away_keeps_nobody_from_signing(conn, key_file, append, tmp_path):
    append()

    finish(notary_due(key_file, tmp_path / "not mounted"), conn)

    assert log_tree.state_of(conn, WHOLE_LOG).signed_size == 1
    assert not (tmp_path / "not mounted").exists()


def test_a_log_that_was_set_back_is_not_signed_and_health_says_so(system, conn, key_file, append, admin_url):
    append(5)
    conn.execute("UPDATE positions SET position = 5")  # as read models have it that were at the end
    finish(notary_due(key_file), conn)
    set_back(admin_url, 3)
    log_tree.begin(conn)  # as at the start of the process

    finish(notary_due(key_file), conn)

    why = log_tree.refusal(conn)
    assert "checkpoints_refused" in Checkup(Backend(system.executor, system.pool, 1.0))().reasons()
    assert "ends at position 3, and a checkpoint of 5 events is signed" in why
    assert "routines audit new-key" in why
    assert log_tree.state_of(conn, WHOLE_LOG).checkpoint is None


def test_a_log_that_was_set_back_and_went_on_is_not_signed(conn, key_file, append, admin_url):
    append(5)
    finish(notary_due(key_file), conn)
    set_back(admin_url, 3)
    append(9)
    log_tree.rebuild(conn)  # what was folded of the lost events went with the database

    finish(notary_due(key_file), conn)

    assert "first 5 events of the log are not those that are signed" in log_tree.refusal(conn)
    assert log_tree.state_of(conn, WHOLE_LOG).checkpoint is None


def test_with_a_new_key_a_log_that_was_set_back_begins_another_history(conn, key_file, append, admin_url):
    append(5, COMPANY)
    finish(notary_due(key_file), conn)
    old_name = log_key.read(key_file).name
    set_back(admin_url, 3)
    log_tree.begin(conn)
    finish(notary_due(key_file), conn)

    kept = bootstrap.replace_log_key(key_file, None)
    finish(notary_due(key_file), conn)

    name = log_key.read(key_file).name
    assert name != old_name == log_key.read(kept).name
    assert log_tree.refusal(conn) is None
    assert log_tree.state_of(conn, WHOLE_LOG).checkpoint.startswith(f"{name}\n3\n")
    assert log_tree.state_of(conn, COMPANY).checkpoint.startswith(f"{name}/companies/{COMPANY}\n3\n")
    with signed_heads.open_heads(kept) as heads:
        assert heads.last().size == 5


def test_a_new_key_signs_what_has_not_grown_as_well(conn, key_file, append):
    append(2, COMPANY)
    finish(notary_due(key_file), conn)

    bootstrap.replace_log_key(key_file, "example.org/log")
    finish(notary_due(key_file), conn)

    assert log_tree.state_of(conn, COMPANY).checkpoint.startswith(f"example.org/log/companies/{COMPANY}\n2\n")


def test_a_key_without_its_record_of_what_was_signed_signs_nothing(conn, key_file, append):
    append()
    signed_heads.path_beside(key_file).unlink()

    finish(notary_due(key_file), conn)

    assert "not known what was signed last" in log_tree.refusal(conn)
    assert log_tree.state_of(conn, WHOLE_LOG).checkpoint is None


def test_a_key_file_that_is_not_there_at_all_is_what_the_reason_names(conn, key_file, append):
    append()
    elsewhere = key_file.with_name("elsewhere.key")

    finish(notary_due(elsewhere), conn)

    assert f"{elsewhere} is not there: put the key back" in log_tree.refusal(conn)


def test_a_tree_that_is_lost_is_folded_again_before_anything_is_signed(conn, key_file, append):
    append(5)
    finish(notary_due(key_file), conn)
    checkpoint = log_tree.state_of(conn, WHOLE_LOG).checkpoint

    log_tree.rebuild(conn)
    assert log_tree.state_of(conn, WHOLE_LOG).size == 0
    finish(notary_due(key_file), conn)

    assert log_tree.state_of(conn, WHOLE_LOG).checkpoint == checkpoint
    assert log_tree.refusal(conn) is None


def test_two_notaries_are_not_in_each_others_way(system, conn, key_file, append):
    append(3)
    with bootstrap.connect(system.settings) as other, other.transaction():
        assert log_tree.grow(other) == 3
        assert log_tree.grow(conn) == 0  # the other one has the trees
    one, two = notary_due(key_file), notary_due(key_file)
    for notary in (one, two, one):
        finish(notary, conn)
        append()

    assert log_tree.state_of(conn, WHOLE_LOG).signed_size == 5
    assert log_tree.refusal(conn) is None


def test_an_event_that_nobody_can_read_has_its_leaf(conn, append):
    streams = [uuid4() for _ in range(3)]
    bodies = [b"\xff\x00", b"", b'{"company_id":7}']
    conn.execute("SELECT log.append(%b, %b, %b, %b, '{}', '{}')", (streams, [1] * 3, ["odd \u2028 name"] * 3, bodies))

    finish(notary_due(None), conn)

    assert log_tree.state_of(conn, WHOLE_LOG).size == 3


def test_of_two_lines_the_one_that_was_not_cut_off_counts(key_file):
    path = signed_heads.path_beside(key_file)
    heads = [Head(size=size, root=bytes([size]) * 32) for size in (1, 2, 3)]
    with signed_heads.open_heads(key_file) as signed:
        assert signed.last() is None
        for head in heads:
            signed.note(head)
            assert signed.last() == head
    whole = path.read_bytes()
    assert len(whole) == 2 * signed_heads.LINE_BYTES

    path.write_bytes(whole[: signed_heads.LINE_BYTES - 3] + b"???" + whole[signed_heads.LINE_BYTES :])
    with signed_heads.open_heads(key_file) as signed:
        assert signed.last() == heads[1]
    path.write_bytes(b"?" * len(whole))
    with signed_heads.open_heads(key_file) as signed, pytest.raises(CannotSign, match="damaged"):
        signed.last()
