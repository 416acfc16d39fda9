"""A server of a test's own, and the worker as a function or a process."""

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from click.testing import CliRunner

from routines.worker import cli, server
from tests.routines.worker.stub_server import TOKEN, Stub


@pytest.fixture
def stub():
    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def answer(self):
            request_body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = self.headers.get("Authorization"), self.headers.get("X-Paperclip-Run-Id")
            while answering.is_silent:
                time.sleep(0.01)
            with answering.lock:
                status, body = answering.answer(self.command, self.path, *headers, json.loads(request_body or "{}"))
                text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 the names that http.server looks for

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        answering = Stub(f"http://127.0.0.1:{listening.server_port}")
        Thread(target=listening.serve_forever, args=(0.01,)).start()
        yield answering
        listening.shutdown()


@pytest.fixture
def run_once(stub, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "pauses", lambda: iter([0.01] * 1000))

    def run_once(*command, options=(), token=TOKEN):
        body = ["--url", stub.url, "--token", token, "--once", "--state-dir", str(tmp_path), *options, "--", *command]
        return CliRunner().invoke(cli.worker, body)

    return run_once


@pytest.fixture
def start(stub, tmp_path):
    running = []

    def start(*command, options=()):
        options = ["--url", stub.url, "--poll-s", "0.05", "--state-dir", tmp_path / "claims", *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "routines", "worker", *options, "--", *command],
            env={**os.environ, "ROUTINES_AGENT_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
