"""A service with two web processes, one for each configuration of nginx, as they are run in earnest."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack

import httpx
import pytest

from routines import bootstrap
from routines.settings import Settings
from tests.deploy.machine import free_port
from tests.running import copied_database, projecting
from tests.waiting import wait_for


def program(name):
    """Its path. Skips the test where it is missing, which `make install-ops` mends on Debian."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: make install-ops")
    return path


class Service:
    """Web processes by the name of their configuration, and what a client needs."""

    def __init__(self, token, ports, tls_ports):
        self.token, self.ports, self.tls_ports = token, ports, tls_ports
        self.plain_port = free_port()

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}


PREFIXES = {"host": "", "subpath": "/routines"}
RATE = 20  # calls a minute that a webhook takes from one sender


@pytest.fixture(scope="module")
def service(postgres, template, tmp_path_factory):
    directory = tmp_path_factory.mktemp("service")
    key_file = str(directory / "secret.keys")
    bootstrap.make_keys(key_file)
    with ExitStack() as running:
        name = running.enter_context(copied_database(postgres, template))
        settings = Settings(database_url=postgres.url("routines_service", name), key_file=key_file)
        system = running.enter_context(bootstrap.system(settings))
        token = bootstrap.first_board_token(settings)
        running.enter_context(projecting(system))
        ports, tls_ports = ({kind: free_port() for kind in PREFIXES} for _ in range(2))
        processes = []
        for kind, prefix in PREFIXES.items():
            public_url = f"https://localhost:{tls_ports[kind]}{prefix}"
            running.enter_context(web := _web(settings, ports[kind], public_url, directory / f"{kind}.log"))
            processes.append(web)
        for web in processes:
            web.wait()
        yield Service(token, ports, tls_ports)


class _web:  # noqa: N801 used as a function
    def __init__(self, settings, port, public_url, log):
        self._env = {
            "ROUTINES_DATABASE_URL": settings.database_url,
            "ROUTINES_KEY_FILE": settings.key_file,
            "ROUTINES_PUBLIC_URL": public_url,
            "ROUTINES_TRUSTED_PROXIES": "127.0.0.1",
            "ROUTINES_WEBHOOK_RATE": str(RATE),
        }
        self._port, self._log = port, log

    def __enter__(self):
        argv = [sys.executable, "-m", "routines", "web", "--port", str(self._port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(argv, env={**os.environ, **self._env}, stdout=log, stderr=log)

    def wait(self):
        wait_for(self._is_answering, limit_s=60)

    def _is_answering(self):
        assert self._process.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/api/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
