"""The compose file and the Dockerfile, as far as they can be tried without a registry of images."""

import os
import re
import subprocess
import tomllib

import pytest
import yaml  # type: ignore[import-untyped]

from routines.cli import main
from tests.deploy.conftest import program

PASSWORDS = {"POSTGRES_PASSWORD": "one", "ADMIN_PASSWORD": "two", "PARTS_PASSWORD": "three"}
INSTRUCTION = re.compile(r"^([A-Z]+) (.*?)(?<!\\)$", re.MULTILINE | re.DOTALL)
KNOWN = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}


@pytest.fixture
def instructions(root):
    return INSTRUCTION.findall((root / "deploy/docker/Dockerfile").read_text())


@pytest.fixture
def services(root):
    return yaml.safe_load((root / "deploy/docker/compose.yaml").read_text())["services"]


def test_compose_reads_its_file_and_asks_for_the_passwords(root):
    argv = [program("docker-compose"), "--file", root / "deploy/docker/compose.yaml", "--profile", "worker", "config"]
    env = {name: value for name, value in os.environ.items() if name not in PASSWORDS}
    without = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    done = subprocess.run(argv, env={**env, **PASSWORDS}, capture_output=True, text=True, check=False)

    assert "POSTGRES_PASSWORD" in without.stderr
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)["services"]
    assert {"postgres", "init", "web", "scheduler", "projector", "delivery", "worker"} == read.keys()
    urls = {name: service["environment"].get("ROUTINES_DATABASE_URL") for name, service in read.items()}
    assert "postgresql://routines_admin:two@postgres/routines" == urls.pop("init")
    parts = {urls[name] for name in ("web", "scheduler", "projector", "delivery")}
    assert {"postgresql://routines_parts:three@postgres/routines"} == parts
    assert urls["worker"] is None
    keyed = {name for name, service in read.items() if "ROUTINES_KEY_FILE" in service["environment"]}
    assert {"init", "web", "scheduler", "delivery"} == keyed == {name for name in keyed if "volumes" in read[name]}


def test_each_service_runs_a_command_that_there_is(services):
    commands = {name: service["command"][0] for name, service in services.items() if name != "postgres"}

    assert set() == set(commands.values()) - set(main.list_commands(None))


def test_the_files_that_are_mounted_are_there(root, services):
    mounted = [volume.split(":")[0] for volume in services["postgres"]["volumes"] if volume.startswith(".")]

    assert ["../postgres/roles.sql"] == mounted
    assert (root / "deploy/docker" / mounted[0]).is_file()


def test_the_image_gets_every_package_and_nothing_that_is_not_there(root, instructions):
    copied = [word for name, words in instructions if name == "COPY" for word in words.split()[:-1]]
    sources = {word for word in copied if not word.startswith(("--", "/"))}
    packages = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]

    assert [] == [source for source in sources if not (root / source).exists()]
    assert {name.rstrip("*") for name in packages} | {"Makefile", "pyproject.toml", "requirements.txt"} == sources


def test_the_image_is_built_by_what_installs_everywhere_and_runs_as_an_account_of_its_own(root, instructions):
    names = [name for name, _ in instructions]
    runs = [words for name, words in instructions if name == "RUN"]

    assert set() == set(names) - KNOWN
    assert [words for words in runs if "make install" in words]
    assert "\ninstall:" in (root / "Makefile").read_text()
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert 'ENTRYPOINT ["/opt/routines/.venv/bin/routines"]' in (root / "deploy/docker/Dockerfile").read_text()
