"""A service with a web process for each configuration of nginx, as they are run in earnest."""

import os
import shutil
import signal
from contextlib import ExitStack

import httpx
import pytest

from routines import bootstrap
from routines.settings import Settings
from tests.deploy.machine import free_port
from tests.running import copied_database, projecting
from tests.waiting import wait_for
from verification.faults.forked import Forked


def program(name):
    """Its path. Skips the test where it is missing, which `make install-ops` mends on Debian."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: make install-ops")
    return path


PREFIXES = {"host": "", "subpath": "/routines"}
RATE = 20  # calls a minute that a webhook takes from one sender


class Service:
    """Web processes by the name of their configuration, and what a client needs."""

    def __init__(self, settings, token, directory):
        self.token = token
        self.ports, self.tls_ports = ({kind: free_port() for kind in PREFIXES} for _ in range(2))
        self.plain_port = free_port()
        self._settings, self._directory = settings, directory
        self._processes = []

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def start(self, kind):
        """Start the web process of this configuration, and return as soon as it answers."""
        env = {
            "ROUTINES_DATABASE_URL": self._settings.database_url,
            "ROUTINES_KEY_FILE": self._settings.key_file,
            "ROUTINES_PUBLIC_URL": f"https://localhost:{self.tls_ports[kind]}{PREFIXES[kind]}",
            "ROUTINES_TRUSTED_PROXIES": "127.0.0.1",
            "ROUTINES_WEBHOOK_RATE": str(RATE),
        }
        log, port = self._directory / f"{kind}.log", self.ports[kind]
        process = Forked(["web", "--port", str(port)], {**os.environ, **env}, log)
        self._processes.append(process)

        def is_answering():
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False).is_success
            except httpx.HTTPError:
                return False

        wait_for(is_answering, limit_s=60)

    def end(self):
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
            process.wait()


@pytest.fixture(scope="module")
def service(postgres, template, tmp_path_factory):
    """One with the web process of its own host; who needs the other starts it."""
    directory = tmp_path_factory.mktemp("service")
    key_file = str(directory / "secret.keys")
    bootstrap.make_keys(key_file)
    with ExitStack() as running:
        name = running.enter_context(copied_database(postgres, template))
        settings = Settings(database_url=postgres.url("routines_service", name), key_file=key_file)
        system = running.enter_context(bootstrap.system(settings))
        token = bootstrap.first_board_token(settings)
        running.enter_context(projecting(system))
        service = Service(settings, token, directory)
        running.callback(service.end)
        service.start("host")
        yield service
