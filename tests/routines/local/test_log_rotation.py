"""The log files of the parts are rotated by size, while the parts go on writing to them."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from routines.local import log_rotation
from routines.local.log_rotation import LogBounds, LogRotation
from routines.local.private_files import open_private
from tests.waiting import wait_for

COUNT = "for number in range(20_000): print(number, flush=True)"


@pytest.fixture(autouse=True)
def _always_due(monkeypatch):
    monkeypatch.setattr(log_rotation, "CHECK_S", 0.0)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_file_that_is_too_large_is_kept_under_a_number_and_begins_anew(tmp_path):
    rotation = LogRotation(tmp_path, LogBounds(max_bytes=10, old_files=2))
    log = tmp_path / "web.log"

    for text in ("the first text", "the second text", "the third text"):
        log.write_text(text)
        log.chmod(0o600)
        rotation.check()
        rotation.check()  # an empty file is not rotated

    assert "" == log.read_text()
    assert ["web.log", "web.log.1", "web.log.2"] == names(tmp_path)
    assert "the third text" == (tmp_path / "web.log.1").read_text()
    assert "the second text" == (tmp_path / "web.log.2").read_text()
    assert [0o600] * 3 == [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()]


def test_a_small_file_and_one_that_is_no_log_stay(tmp_path):
    (tmp_path / "web.log").write_text("short")
    (tmp_path / "notes.txt").write_text("longer than that")

    LogRotation(tmp_path, LogBounds(max_bytes=10, old_files=2)).check()

    assert ["notes.txt", "web.log"] == names(tmp_path)


def test_without_old_files_it_is_only_emptied(tmp_path):
    (tmp_path / "web.log").write_text("longer than that")

    LogRotation(tmp_path, LogBounds(max_bytes=10, old_files=0)).check()

    assert ["web.log"] == names(tmp_path)
    assert 0 == (tmp_path / "web.log").stat().st_size


def test_on_a_full_disk_the_file_stays_as_it_is(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "web.log").write_text("longer than that")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", refuse)
        LogRotation(tmp_path, LogBounds(max_bytes=10, old_files=2)).check()

    assert ["web.log"] == names(tmp_path)
    assert "longer than that" == (tmp_path / "web.log").read_text()


def test_who_writes_meanwhile_goes_on_in_the_same_file(tmp_path):
    rotation = LogRotation(tmp_path, LogBounds(max_bytes=5_000, old_files=100))
    with os.fdopen(open_private(tmp_path / "web.log", os.O_WRONLY | os.O_APPEND), "ab") as log:
        writer = subprocess.Popen([sys.executable, "-S", "-c", COUNT], stdout=log)
    wait_for(lambda: rotation.check() or writer.poll() is not None)

    lines = {line for path in tmp_path.iterdir() for line in path.read_text().splitlines()}
    assert 1 < len(names(tmp_path))
    assert b"\0" not in (tmp_path / "web.log").read_bytes()
    assert 10_000 < len(lines)  # of 20,000: what is written in the moment in which a file is emptied may be lost
