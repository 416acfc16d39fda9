"""The alerts and the dashboard, as a real Prometheus takes them that has scraped a real service."""

import json
import re
import subprocess
from contextlib import contextmanager

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from tests.deploy.conftest import program
from tests.deploy.machine import free_port
from tests.waiting import wait_for

OUR_METRIC = re.compile(r"\b(?:routines|process)_\w+(?!\w*\()")
ROW = re.compile(r"^\| (Routines\w+) \|", re.MULTILINE)
RULES = "deploy/prometheus/routines.rules.yml"


@pytest.fixture(scope="module")
def rules(root):
    (group,) = yaml.safe_load((root / RULES).read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


@pytest.fixture(scope="module")
def dashboard(root):
    return json.loads((root / "deploy/grafana/routines.json").read_text())


@pytest.fixture(scope="module")
def queries(dashboard):
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return [text.replace("$__rate_interval", "1m") for text in texts]


class Prometheus:
    """The HTTP API of one."""

    def __init__(self, port):
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False, timeout=30)

    def get(self, path, **parameters):
        answer = self._client.get(path, params=parameters)
        assert answer.is_success, (parameters, answer.text)
        return answer.json()["data"]

    def has_scraped(self):
        try:
            if not self._client.get("/status/buildinfo").is_success:
                return False
        except httpx.HTTPError:
            return False
        return len(self.get("/query", query='up{job="routines"} == 1')["result"]) == 1

    def close(self):
        self._client.close()


@pytest.fixture(scope="module")
def prometheus(root, service, tmp_path_factory):
    directory = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(root / "deploy/prometheus", directory, service.ports["host"]) as running:
        wait_for(running.has_scraped, limit_s=60)
        yield running


@contextmanager
def running_prometheus(source, directory, port):
    """One that scrapes each second what is on that port."""
    config = (source / "prometheus.yml").read_text().replace("15s", "1s").replace("127.0.0.1:3100", f"127.0.0.1:{port}")
    (directory / "prometheus.yml").write_text(config)
    (directory / "routines.rules.yml").write_text((source / "routines.rules.yml").read_text())
    listening = free_port()
    options = {
        "config.file": directory / "prometheus.yml",
        "storage.tsdb.path": directory / "data",
        "web.listen-address": f"127.0.0.1:{listening}",
    }
    argv = [program("prometheus"), *(f"--{name}={value}" for name, value in options.items())]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    running = Prometheus(listening)
    try:
        yield running
    finally:
        running.close()
        process.terminate()
        process.wait()


def promtool(*arguments):
    done = subprocess.run([program("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_and_rules_can_be_read(root):
    promtool("check", "config", root / "deploy/prometheus/prometheus.yml")
    promtool("check", "rules", root / RULES)


def test_each_alert_fires_when_it_should_and_is_silent_otherwise(root, rules):
    path = root / "deploy/prometheus/routines.rules.test.yml"
    promtool("test", "rules", path)

    tried = {
        (case["alertname"], bool(case["exp_alerts"]))
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
    }
    assert {(name, fires) for name in rules for fires in (True, False)} == tried


def test_each_alert_says_how_bad_it_is_and_the_page_says_what_to_do(root, rules):
    assert {"critical", "warning"} == {rule["labels"]["severity"] for rule in rules.values()}
    assert list(rules) == ROW.findall((root / "docs/operate.md").read_text())


def test_the_metrics_of_rules_and_dashboard_are_there(service, rules, queries):
    """Each with the name and the labels that a web process shows, before anything has happened."""
    shown = httpx.get(f"http://127.0.0.1:{service.ports['host']}/metrics", trust_env=False).text
    names = set(re.findall(r"^(?:# TYPE )?(\w+)[{ ]", shown, re.MULTILINE))

    texts = [*queries, *(rule["expr"] for rule in rules.values())]
    assert set() == {name for text in texts for name in OUR_METRIC.findall(text)} - names


def test_the_labels_of_the_dashboard_are_those_of_its_metrics(service, dashboard):
    """Those that a query chooses or groups by, and those that its legend names."""
    shown = httpx.get(f"http://127.0.0.1:{service.ports['host']}/metrics", trust_env=False).text
    labels = {"instance", "job", "le"} | set(re.findall(r'[{,](\w+)="', shown))
    wrong = set()
    for target in (target for panel in dashboard["panels"] for target in panel.get("targets", ())):
        query, legend = target["expr"], set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
        grouped = {name for group in re.findall(r"by \(([^)]*)\)", query) for name in group.split(", ")}
        used = grouped | set(re.findall(r'[{,](\w+)=~?"', query))
        wrong |= {(query, name) for name in (used - labels) | (legend - (grouped or {"instance"}))}

    assert set() == wrong


def test_prometheus_evaluates_every_rule_and_answers_every_query(prometheus, rules, queries):
    def evaluated():
        (group,) = prometheus.get("/rules")["groups"]
        return group["rules"] if all(rule["health"] != "unknown" for rule in group["rules"]) else None

    alerts = wait_for(evaluated, limit_s=60)

    assert dict.fromkeys(rules, "ok") == {rule["name"]: rule["health"] for rule in alerts}
    assert [] == [rule["name"] for rule in alerts if rule["state"] == "firing"]
    for query in queries:
        prometheus.get("/query", query=query)


def test_the_numbers_at_the_top_of_the_dashboard_are_there_before_anything_has_happened(prometheus, dashboard):
    for panel in dashboard["panels"]:
        if panel["type"] == "stat":  # some need two scrapes
            query = panel["targets"][0]["expr"]
            wait_for(lambda query=query: prometheus.get("/query", query=query)["result"])


def test_the_dashboard_is_one_that_grafana_can_import(dashboard):
    panels = dashboard["panels"]
    cells = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert ("routines", "Routines") == (dashboard["uid"], dashboard["title"])
    assert ["datasource"] == [variable["name"] for variable in dashboard["templating"]["list"]]
    assert len(panels) == len({panel["id"] for panel in panels})
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    uids = {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", ())}
    assert {"${datasource}"} == uids
