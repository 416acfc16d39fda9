"""What systemd says of the units of deploy/systemd: that they can be read, and how far they are shut in."""

import os
import shutil
import subprocess

import pytest

from tests.deploy.conftest import program

MOST_EXPOSURE = 1.5  # of 10, as `systemd-analyze security` counts
INSTANCES = {
    "routines-web@.service": "routines-web@3100.service",
    "routines-worker@.service": "routines-worker@one.service",
}


class Analyze:
    """Runs systemd-analyze on units whose program is there."""

    def __init__(self, source, directory):
        self._program = program("systemd-analyze")
        self._directory = directory
        self.units = []
        shutil.copytree(source, directory, dirs_exist_ok=True)
        for path in source.iterdir():
            if path.suffix in (".service", ".target"):
                self.units.append(directory / INSTANCES.get(path.name, path.name))
                self.units[-1].write_text(path.read_text().replace("/opt/routines/.venv/bin/routines", "/bin/true"))

    def __call__(self, *arguments):
        env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{self._directory}:"}
        argv = [self._program, *map(str, arguments)]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def analyze(root, tmp_path_factory):
    return Analyze(root / "deploy/systemd", tmp_path_factory.mktemp("units"))


def test_every_unit_can_be_loaded(analyze):
    done = analyze("verify", "--man=no", *analyze.units)

    assert (0, "") == (done.returncode, done.stdout + done.stderr)
    assert 6 == len(analyze.units)


def test_every_service_is_shut_in(analyze):
    for unit in analyze.units:
        if unit.suffix == ".service":
            limit = f"--threshold={MOST_EXPOSURE * 10:.0f}"
            done = analyze("security", "--no-pager", "--offline=true", limit, unit)
            assert done.returncode == 0, done.stdout + done.stderr
