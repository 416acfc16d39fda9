"""The layers are a test: what may import what, one clock, SQL in its places, no drawers for odds and ends."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "domain": set(),
    "application": {"domain"},
    "projections": {"domain"},  # the two sides never meet
    "web": {"domain", "application", "projections"},
    "processes": {"domain", "application", "projections"},
    "routines": {"domain", "application", "projections", "web", "processes"},
}
# Subjects within a layer: a subject may import those before it, and no other. A module that is named stands for itself;
# `.` are the modules of the layer that are not named.
SUBJECTS = {
    "domain": (
        ".",
        "bounds",
        "proof",
        "schedule",
        "webhooks",
        "delivery",
        "board",
        "routines",
        "jetty",
        "explain",
        "audit",
        "what_if",
        "endings",
    ),
    "application": (
        *("secrets", "proof", "quotas", "event_store", "tokens", "access", "request_bodies", ".", "audit", "use_cases"),
    ),
    "application/use_cases": (
        *("references", "targets", "signing_secrets", "named_secrets", "slots", "names"),  # what the others share
        *("board", ".", "jetty", "deadlines", "needed_secrets"),
    ),
    "projections": (
        "engine",
        "proof",
        "responses",
        "board",
        "firing",
        "routines",
        "delivery",
        "jetty",
        "audit",
        "open_work",
        "health",
        "usage",
        "overview",
        "log_views",
        "catalogue",
        "exports",
        "parquet",
        "export_files",
        "erasure",
    ),
    "processes": (".", "scheduler", "delivery"),
    "web": ("apis", "http", "monitoring", "openapi", "paperclip", "events", "jetty", "board", "app"),
}
DOMAIN_MAY_IMPORT = {"msgspec"}
VERIFIER_MAY_IMPORT = {"cryptography", "psycopg", "audit_verifier"}
SQL_IN = {
    "application/audit/log_reader.py",
    "application/event_store/data_keys.py",
    "application/event_store/recorder.py",
    "application/secrets/vault.py",
    "projections/*.py",
    "projections/*/*.py",
    "processes/silent_sessions.py",
    "processes/wakeup.py",
    "routines/clock.py",
    "routines/connections.py",
    "routines/postgres/cluster.py",  # makes the database
    "routines/migrations.py",
    "routines/prerequisites.py",
    "routines/roles.py",
}
SQL = re.compile(
    r"\A\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|TRUNCATE\s|WITH\s+\w+\s+AS\s"
    r"|(CREATE|ALTER|DROP|GRANT|REVOKE|LISTEN|NOTIFY|COPY|LOCK)\s+[A-Za-z_]+)"
)
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time"), ("time", "time_ns")}
ODDS_AND_ENDS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "service", "misc"}


def modules():
    return sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def name(path):
    return path.relative_to(ROOT).as_posix()


@cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text(), name(path))))


def imported_names(path):
    """The top-level names that a module imports, relative ones as its own package."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield path.relative_to(ROOT).parts[0] if node.level else node.module.split(".")[0]


def docstrings(path):
    owners = [node for node in nodes(path) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    return {id(node.body[0].value) for node in owners if node.body and isinstance(node.body[0], ast.Expr)}


def speaks_sql(path):
    explaining = docstrings(path)
    texts = (node for node in nodes(path) if isinstance(node, ast.Constant) and id(node) not in explaining)
    return any(SQL.match(str(text.value)) for text in texts)


def reads_a_clock(path):
    calls = (node for node in nodes(path) if isinstance(node, ast.Attribute))
    dotted = ((getattr(call.value, "id", getattr(call.value, "attr", None)), call.attr) for call in calls)
    bare = (
        (node.module, alias.name)
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    )
    return not CLOCKS.isdisjoint([*dotted, *bare])


def test_imports_point_inwards():
    outwards = [
        f"{name(path)} imports {other}"
        for path in modules()
        for other in imported_names(path)
        if other in MAY_IMPORT and other not in MAY_IMPORT[own := path.relative_to(ROOT).parts[0]] | {own}
    ]

    assert [] == outwards


def subject_of(module, folder):
    """The subject of a dotted module below a folder, None for one that is elsewhere."""
    parts, above = module.split("."), folder.split("/")
    if parts[: len(above)] != above or len(parts) == len(above):
        return None
    return name if (name := parts[len(above)]) in SUBJECTS[folder] else "."


def imported_modules(path):
    """The dotted modules that a module imports: `from package import module` means the module."""
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / inner.replace(".", "/")).with_suffix(".py").exists()
                yield inner if is_module else node.module


@pytest.mark.parametrize("folder", SUBJECTS)
def test_a_subject_imports_only_those_before_it(folder):
    order = SUBJECTS[folder]
    against = {
        f"{name(path)} imports {other}"
        for path in (ROOT / folder).rglob("*.py")
        if (own := subject_of(name(path)[:-3].replace("/", "."), folder)) is not None
        for other in imported_modules(path)
        if (theirs := subject_of(other, folder)) is not None and order.index(theirs) > order.index(own)
    }

    assert set() == against


def test_no_package_imports_the_tests_or_the_benchmarks():
    assert [] == [name(path) for path in modules() if {"tests", "benchmarks"} & set(imported_names(path))]


def test_the_verifier_imports_nothing_of_ours():
    """Who verifies the log need not believe the service, so its mistakes must not be the verifier's as well."""
    allowed = sys.stdlib_module_names | VERIFIER_MAY_IMPORT

    assert [] == [
        f"{name(path)} imports {other}"
        for path in sorted((ROOT / "audit_verifier").rglob("*.py"))
        for other in imported_names(path)
        if other not in allowed
    ]


def test_the_domain_imports_only_the_standard_library_and_msgspec():
    allowed = sys.stdlib_module_names | DOMAIN_MAY_IMPORT | {"domain"}

    assert [] == [
        f"{name(path)} imports {other}"
        for path in modules()
        if path.relative_to(ROOT).parts[0] == "domain"
        for other in imported_names(path)
        if other not in allowed
    ]


def test_there_is_one_clock():
    assert len(clocks := [name(path) for path in modules() if reads_a_clock(path)]) <= 1, clocks


def test_sql_is_spoken_in_its_places_only():
    elsewhere = [
        name(path)
        for path in modules()
        if not any(path.relative_to(ROOT).match(place) for place in SQL_IN) and speaks_sql(path)
    ]

    assert [] == elsewhere


def test_sql_files_are_on_the_write_side_and_the_read_side_only():
    elsewhere = [
        name(path)
        for package in MAY_IMPORT.keys() - {"application", "projections"}
        for path in (ROOT / package).rglob("*.sql")
    ]

    assert [] == elsewhere


def test_no_module_is_a_drawer_for_odds_and_ends():
    assert [] == [name(path) for path in modules() if path.stem in ODDS_AND_ENDS]
