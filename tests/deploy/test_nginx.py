"""A real nginx with the configurations of deploy/nginx, in front of a real service."""

import json
import os
import re
import ssl
import subprocess

import httpx
import pytest

from tests.deploy.conftest import PREFIXES, RATE, program
from tests.waiting import wait_for

CONF = """
pid {dir}/nginx.pid;
worker_processes 1;
events {{}}
http {{
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    include {dir}/conf.d/*.conf;
}}
"""
SUBPATH = """
server {{
    listen 127.0.0.1:{port} ssl;
    server_name example.org;
    ssl_certificate {dir}/certificate.pem;
    ssl_certificate_key {dir}/certificate.key;
    include {dir}/snippets/{kind}-routines-subpath.conf;
}}
"""


class Nginx:
    def __init__(self, directory, service):
        self.directory, self.service = directory, service
        self.context = ssl.create_default_context(cafile=directory / "certificate.pem")

    def client(self, kind):
        """A client of the service behind the configuration of this kind."""
        url = f"https://localhost:{self.service.tls_ports[kind]}{PREFIXES[kind]}"
        return httpx.Client(base_url=url, verify=self.context, trust_env=False, headers=self.service.headers)

    def log(self):
        return (self.directory / "log/routines.log").read_text()


@pytest.fixture(scope="module")
def nginx(root, service, tmp_path_factory):
    nginx = program("nginx")
    service.start("subpath")
    directory = tmp_path_factory.mktemp("nginx")
    make_certificate(directory)
    write_configuration(root / "deploy/nginx", directory, service)
    argv = [nginx, "-e", f"{directory}/log/error.log", "-c", f"{directory}/nginx.conf"]
    done = subprocess.run([*argv, "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
    process = subprocess.Popen([*argv, "-g", "daemon off;" + ("" if os.geteuid() else " user root;")])
    try:
        running = Nginx(directory, service)
        wait_for(lambda: is_up(running))
        yield running
    finally:
        process.terminate()
        process.wait()


def make_certificate(directory):
    for name in ("log", "conf.d", "snippets"):
        (directory / name).mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    files = ["-keyout", directory / "certificate.key", "-out", directory / "certificate.pem"]
    argv = [program("openssl"), "req", "-x509", *key, "-addext", "subjectAltName=DNS:localhost", *files]
    subprocess.run(argv, check=True, capture_output=True)


def write_configuration(source, directory, service):
    """What deploy/nginx says, with the ports and paths of this test, once for each web process."""
    texts = {path.name: path.read_text() for path in source.iterdir()}
    (directory / "nginx.conf").write_text(CONF.format(dir=directory))
    (directory / "snippets/routines-proxy.conf").write_text(texts["routines-proxy.conf"])
    shared = texts["routines-shared.conf"].replace("127.0.0.1:3100", f"127.0.0.1:{service.ports['host']}")
    upstream = re.search(r"upstream routines \{.*?\n\}", texts["routines-shared.conf"], re.DOTALL)[0]
    further = upstream.replace("upstream routines", "upstream below").replace("3100", str(service.ports["subpath"]))
    (directory / "conf.d/routines-shared.conf").write_text(shared + further)
    host = re.sub(r"    listen \[::\]:.*\n", "", texts["routines.conf"])  # not every machine has IPv6
    host = host.replace("listen 443 ssl", f"listen 127.0.0.1:{service.tls_ports['host']} ssl")
    host = host.replace("listen 80;", f"listen 127.0.0.1:{service.plain_port};")
    (directory / "conf.d/routines.conf").write_text(with_local_paths(host, directory))
    below = with_local_paths(texts["routines-subpath.conf"], directory).replace("http://routines", "http://below")
    (directory / "snippets/subpath-routines-subpath.conf").write_text(below)
    port = service.tls_ports["subpath"]
    (directory / "conf.d/subpath.conf").write_text(SUBPATH.format(port=port, dir=directory, kind="subpath"))


def with_local_paths(text, directory):
    text = text.replace("/etc/ssl/certs/routines.example.org.pem", f"{directory}/certificate.pem")
    text = text.replace("/etc/ssl/private/routines.example.org.key", f"{directory}/certificate.key")
    return text.replace("/var/log/nginx", f"{directory}/log")


def is_up(nginx):
    try:
        with nginx.client("host") as client:
            return client.get("/api/health").is_success
    except httpx.HTTPError:
        return False


def webhook(client):
    """The public address of a new webhook, which is its secret."""
    company = client.post("/api/companies", json={"name": "Acme"}).json()["id"]
    agent = client.post(f"/api/companies/{company}/agents", json={"name": "Scout"}).json()["id"]
    routine = client.post(f"/api/companies/{company}/routines", json={"title": "Look", "assigneeAgentId": agent}).json()
    trigger = {"kind": "webhook", "signingMode": "none"}
    webhook_trigger = client.post(f"/api/routines/{routine['id']}/triggers", json=trigger).json()
    return webhook_trigger["secretMaterial"]["webhookUrl"]


@pytest.fixture(params=PREFIXES)
def client(nginx, request):
    with nginx.client(request.param) as client:
        yield client


def test_both_apis_and_the_page_of_their_description_are_there(client):
    assert client.get("/api/health").is_success
    assert client.get("/api/companies").is_success
    for page in ("/api/docs", "/docs"):
        shown = client.get(page)
        assert shown.is_success
        assert "openapi.json" in shown.text
        assert "paths" in client.get(str(shown.url.join("openapi.json"))).json()


def test_a_webhook_is_called_by_the_address_that_was_given_out_and_no_log_has_it(nginx, client):
    url = webhook(client)

    fired = httpx.post(url, json={"event": "deploy"}, verify=nginx.context, trust_env=False)

    assert url.startswith(str(client.base_url).rstrip("/"))
    assert fired.is_success, fired.text
    public_id = url.split("/")[-2]
    logs = "".join(path.read_text() for path in (nginx.directory / "log").iterdir())
    assert public_id not in logs
    wait_for(lambda: "/routine-triggers/public/*** " in nginx.log())


def test_a_sender_is_who_connects_to_the_proxy_whatever_it_claims(nginx, client):
    """The limit of a webhook goes by the sender: claims of other addresses do not lead around it."""
    url = webhook(client)
    here, elsewhere = (
        httpx.Client(transport=httpx.HTTPTransport(verify=nginx.context, local_address=address))
        for address in ("127.0.0.1", "127.0.0.2")
    )
    with here, elsewhere:
        # Calls are counted by the minute, and one may end amid them.
        claims = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(2 * RATE + 1)]
        answers = [here.post(url, json={}, headers=claim).status_code for claim in claims]

        assert 429 in answers
        assert elsewhere.post(url, json={}).is_success


def test_bodies_as_large_as_the_service_takes_reach_it_and_it_says_itself_what_is_too_large(client):
    body = json.dumps({"name": "x" * (10 << 20)})

    answer = client.post("/api/companies", content=body, headers={"Content-Type": "application/json"})

    assert 413 == answer.status_code
    assert "error" in answer.json()


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/x/../metrics", "/%6detrics"])
def test_metrics_are_not_shown_outside(nginx, path):
    for kind, prefix in PREFIXES.items():
        with nginx.client(kind) as client:
            answer = client.get(f"https://localhost:{nginx.service.tls_ports[kind]}{prefix}{path}")
            assert 404 == answer.status_code


def test_the_prefix_alone_leads_to_the_service_and_nothing_else_does(nginx):
    with nginx.client("subpath") as client:
        outside = f"https://localhost:{nginx.service.tls_ports['subpath']}"
        assert 404 == client.get(f"{outside}/api/health").status_code
        assert 308 == client.get(f"{outside}/routines").status_code


def test_what_is_asked_for_without_tls_is_sent_to_it(nginx):
    answer = httpx.get(f"http://127.0.0.1:{nginx.service.plain_port}/api/docs?x=1", trust_env=False)

    assert (308, "https://routines.example.org/api/docs?x=1") == (answer.status_code, answer.headers["Location"])
