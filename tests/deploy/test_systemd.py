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


@pytest.fixture(scope="module")
def analyze(root, tmp_path_factory):
    """Runs systemd-analyze on the units, whose program is there."""
    analyze = program("systemd-analyze")
    directory = tmp_path_factory.mktemp("units")
    shutil.copytree(root / "deploy/systemd", directory, dirs_exist_ok=True)
    units = []
    for path in (root / "deploy/systemd").iterdir():
        if path.suffix in (".service", ".target"):
            units.append(directory / INSTANCES.get(path.name, path.name))
            units[-1].write_text(path.read_text().replace("/opt/routines/.venv/bin/routines", "/bin/true"))

    def run(*arguments):
        env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"}
        return subprocess.run([analyze, *map(str, arguments)], env=env, capture_output=True, text=True, check=False)

    run.units = units
    return run


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
