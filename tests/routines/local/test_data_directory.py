"""The data directory belongs to one system, and is closed to others."""

import errno
import os

import pytest

from routines.errors import CannotStart
from routines.local.data_directory import DataDirectory
from routines.local.private_files import give_file
from routines.local.reach import Reach
from tests.routines.local.machine import mode, open_to_others, refuse
from tests.strangers import PARTS, STRANGER, holding_lock

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only: nobody else can be another account")


def test_the_data_directory_is_closed_to_others_also_where_it_was_open(tmp_path):
    (tmp_path / "up.lock").touch(0o644)
    tmp_path.chmod(0o755)

    with DataDirectory(tmp_path).lock():
        assert [0o700, 0o600] == [mode(tmp_path), mode(tmp_path / "up.lock")]
    with DataDirectory(tmp_path / "new").lock():
        assert 0o700 == mode(tmp_path / "new")


def test_a_directory_that_holds_more_than_ours_keeps_its_mode(tmp_path):
    (tmp_path / "something").touch()
    tmp_path.chmod(0o755)

    with DataDirectory(tmp_path).lock():
        assert 0o755 == mode(tmp_path)


def test_a_directory_in_which_others_write_is_refused(tmp_path):
    (tmp_path / "something").touch()
    tmp_path.chmod(0o777)

    with pytest.raises(CannotStart, match="others may write in"), DataDirectory(tmp_path).lock():
        pass


@as_root
@pytest.mark.parametrize("link", [False, True])
def test_a_directory_of_a_stranger_is_refused(tmp_path, link):
    directory = tmp_path / "data"
    if link:
        directory.symlink_to("/var/lib")
    else:
        directory.mkdir()
    os.chown(directory, STRANGER.uid, STRANGER.gid, follow_symlinks=False)
    old_mode = mode(directory)

    with pytest.raises(CannotStart, match="belongs to daemon"), DataDirectory(directory).lock():
        pass

    assert old_mode == mode(directory)


@as_root
def test_a_lock_that_a_stranger_holds_is_told_with_the_stranger(tmp_path):
    (tmp_path / "up.lock").touch(0o644)
    tmp_path.chmod(0o755)

    with (
        open_to_others(tmp_path),
        holding_lock(STRANGER, tmp_path / "up.lock") as pid,
        pytest.raises(CannotStart, match=rf"locked by process {pid} \(.* of daemon\)"),
        DataDirectory(tmp_path).lock(),
    ):
        pass


def test_a_link_for_a_lock_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "up.lock").symlink_to(tmp_path / "victim")

    with pytest.raises(CannotStart, match="cannot open"), DataDirectory(tmp_path).lock():
        pass

    assert "precious" == (tmp_path / "victim").read_text()


@as_root
def test_the_parts_pass_through_the_data_directory_and_read_what_is_theirs(tmp_path):
    place = DataDirectory(tmp_path / "data")
    with place.lock():
        place.write(place.token, "a token")
        place.keys.write_text("keys")
        place.keys.chmod(0o600)
        place.admit(PARTS)
        give_file(place.keys, PARTS)
        with Reach(PARTS) as reach:
            keys = reach.file(place.keys)  # pytest's directories above are closed to the parts

            assert [0o710, 0o600, PARTS.uid] == [mode(place.directory), mode(place.keys), place.keys.stat().st_uid]
            assert PARTS.can_read(keys, reach.fds)
            with pytest.raises(CannotStart, match=r"the account bin, .* cannot read .*board\.token"):
                reach.file(place.token)
            assert 0 != PARTS.run("/bin/ls", keys.parent, fds=reach.fds).returncode
            assert 0 != PARTS.run("/bin/ls", keys.parent / "../../..", fds=reach.fds).returncode


@as_root
def test_a_second_system_does_not_close_the_directory_to_what_runs_in_it(tmp_path):
    place = DataDirectory(tmp_path / "data")
    with place.lock():
        place.admit(PARTS)

        with pytest.raises(CannotStart, match="is in use"), DataDirectory(place.directory).lock():
            pass

        assert (0o710, PARTS.gid) == (mode(place.directory), place.directory.stat().st_gid)
    with place.lock():  # Postgres may still be running, for a system that was killed
        assert 0o710 == mode(place.directory)
        place.admit(STRANGER)
        assert (0o710, STRANGER.gid) == (mode(place.directory), place.directory.stat().st_gid)


@as_root
def test_a_key_file_that_is_not_roots_alone_stays_whose_it_is(tmp_path):
    (tmp_path / "open").touch(0o644)
    (tmp_path / "another").touch(0o600)
    os.chown(tmp_path / "another", STRANGER.uid, STRANGER.gid)

    for name in ("open", "another", "missing"):
        give_file(tmp_path / name, PARTS)

    assert [0, STRANGER.uid] == [(tmp_path / name).stat().st_uid for name in ("open", "another")]


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CannotStart, match="cannot keep data in"), DataDirectory(tmp_path / "file/data").lock():
        pass


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_other(tmp_path, monkeypatch):
    place = DataDirectory(tmp_path)
    place.write(place.state, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", refuse(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            place.write(place.state, "new")

    assert "old" == place.state.read_text()
    assert ["up.json"] == [path.name for path in tmp_path.iterdir()]
