"""The views of analysts: every column can be read, no secret is in them, and rebuilds leave them as they are."""

import os
import re
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from types import NoneType
from typing import get_args
from uuid import UUID
from xml.etree import ElementTree as ET

import psycopg
import pytest
from msgspec import inspect
from msgspec.structs import fields
from psycopg.sql import SQL, Identifier

from domain.disclosure import ADDRESSES
from domain.events import AnyEvent, RunFired, TriggerMissed, stored_name
from domain.values import Coalesced
from examples import failure_rate, lateness
from projections import catalogue, log_views
from projections.engine import installed, rebuilds
from projections.engine.views import View
from routines import bootstrap
from routines.settings import Settings
from tests.projections.sharing import SHARED

VIEWS = [*log_views.OF_LOG, *(view for model in catalogue.ALL for view in model.views)]
NAMES = [view.name for view in VIEWS]
PAGE = Path("docs/analytics.md")


@pytest.fixture
def analyst(projected_story, admin_url):
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute("SET ROLE routines_analyst")
        yield conn


def read_view(conn, view: View):
    return conn.execute(
        SQL("SELECT {} FROM {}").format(
            SQL(", ").join(map(Identifier, view.columns)), Identifier("analytics", view.name)
        )
    ).fetchall()


def paths_of(kind, path=()):
    """The fields of an event that hold addresses."""
    match kind:
        case inspect.StructType(fields=fields):
            for field in fields:
                if field.name in ADDRESSES:
                    yield (*path, field.encode_name)
                yield from paths_of(field.type, (*path, field.encode_name))
        case inspect.UnionType(types=types):
            for one in types:
                yield from paths_of(one, path)
        case inspect.DictType(value_type=inner) | inspect.VarTupleType(item_type=inner):
            yield from paths_of(inner, (*path, "*"))


@SHARED
def test_every_column_can_be_read_and_has_its_type(analyst):
    for view in VIEWS:
        rows = read_view(analyst, view)
        assert rows, view.name
        kinds = {type(value) for row in rows for value in row}
        assert kinds <= {NoneType, UUID, str, int, float, bool, datetime, dict}, view.name


@pytest.mark.parametrize(("model", "view"), [(model, view) for model in catalogue.ALL for view in model.views])
def test_a_column_out_of_a_document_is_a_field_of_it(model, view):
    (table,) = (table for table in model.tables if table.name == view.source)
    (document,) = (
        (field.type for field in fields(table.row) if field.name == "doc") if "doc" in str(view.query) else (None,)
    )
    keys = set(re.findall(r"doc->>?'(\w+)'", view.query))

    assert keys <= ({field.encode_name for field in fields(document)} if document else set())


@SHARED
def test_each_says_in_the_database_what_it_is(analyst):
    for view in VIEWS:
        place = f"analytics.{view.name}"
        about = analyst.execute("SELECT obj_description(to_regclass(%s))", (place,)).fetchone()
        columns = analyst.execute(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum",
            (place,),
        ).fetchall()

        assert about == (view.about,)
        assert columns == [(name, about) for name, (_, about) in view.columns.items()]


@SHARED
def test_an_analyst_reads_the_views_and_nothing_else(analyst):
    for place in ("log.events", "read_models.run", "read_models.access_key", "vault.secrets", "log.head"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute(f"SELECT * FROM {place}")
    for statement in ("CREATE TABLE analytics.mine (a int)", "DELETE FROM analytics.runs"):
        with pytest.raises(psycopg.Error):
            analyst.execute(statement)


def test_no_address_is_in_an_event():
    shown = {
        (event, path)
        for event in get_args(AnyEvent)
        for path in paths_of(inspect.type_info(event))
        if not any(path[: len(known)] == known for known in log_views.ADDRESSES.get(stored_name(event), ()))
    }

    assert shown == set()


@SHARED
def test_no_claimed_name_is_in_an_event_since_it_may_be_an_address(analyst):
    claims = analyst.execute("SELECT event FROM analytics.events WHERE name = 'name.claimed'").fetchall()

    assert claims
    assert {key for (event,) in claims for key in event} == {"type", "scope", "holder_id"}


@SHARED
def test_no_address_is_in_the_rows(analyst, projected_story):
    text = "\n".join(str(row) for view in VIEWS for row in read_view(analyst, view))
    stored = [recorded.event for recorded in projected_story.store.history()]
    urls = {url for event in stored for url in re.findall(r"https?://[^'\"\s]+|[\w.]+@[\w.]+", str(event))}

    assert urls
    assert {url for url in urls if url in text} == set()


@pytest.mark.parametrize("model", [model for model in catalogue.ALL if model.views], ids=lambda model: model.name)
def test_a_rebuild_leaves_the_views_their_readers_and_what_is_built_on_them(
    analyst, conn, projected_story, model, admin_url
):
    (view,) = model.views
    before = read_view(analyst, view)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE VIEW public.mine AS SELECT count(*) FROM analytics.{view.name}")

        rebuilds.rebuild(conn, model, projected_story.store.after)

        assert sorted(map(str, read_view(analyst, view))) == sorted(map(str, before))
        assert admin.execute("SELECT count FROM public.mine").fetchone() == (len(before),)


def test_they_are_defined_again_by_init_and_wait_for_tables_that_are_of_another_version(
    projected_story, conn, admin_url
):
    conn.execute("DROP VIEW analytics.runs")
    conn.execute("UPDATE positions SET shape = 'other' WHERE name = 'issues'")
    conn.execute("DROP VIEW analytics.issues")
    settings = Settings(database_url=admin_url)

    bootstrap.prepare(settings)

    there = {name for (name,) in conn.execute("SELECT viewname FROM pg_views WHERE schemaname = 'analytics'")}
    assert there == set(NAMES) - {"issues"}
    rebuilds.rebuild(
        conn, next(model for model in catalogue.ALL if model.name == "issues"), projected_story.store.after
    )
    assert conn.execute("SELECT count(*) FROM analytics.issues").fetchone()[0]


def test_the_page_has_every_column():
    """`UPDATE_PAGE=1` writes the tables of the page anew."""
    text = PAGE.read_text()
    tables = "\n\n".join(table(view) for view in VIEWS)
    begin, end = "<!-- views -->\n", "\n<!-- end of views -->"
    if "UPDATE_PAGE" in os.environ:
        PAGE.write_text(text[: text.index(begin) + len(begin)] + tables + text[text.index(end) :])
    assert begin + tables + end in PAGE.read_text()


def table(view: View) -> str:
    rows = [f"| `{name}` | {about} |" for name, (_, about) in view.columns.items()]
    return "\n".join([f"**`analytics.{view.name}`**: {view.about}", "", "| column | |", "|---|---|", *rows])


QUESTIONS = re.findall(r"^### (\d+)\. (.+?)\n.*?```sql\n(.+?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_page_asks_ten_questions():
    assert [number for number, *_ in QUESTIONS] == [str(number) for number in range(1, 11)]


@SHARED
def test_every_question_of_the_page_is_answered(analyst):
    unanswered = [question for _, question, query in QUESTIONS if not analyst.execute(query).fetchall()]

    assert unanswered == []


@SHARED
def test_the_answers_are_those_of_the_log(analyst, projected_story):
    """Three of them, counted over the events."""
    fired = [recorded for recorded in projected_story.store.history() if isinstance(recorded.event, RunFired)]
    queries = {number: query for number, _, query in QUESTIONS}

    minutes = Counter(recorded.at.replace(second=0, microsecond=0) for recorded in fired)
    assert analyst.execute(queries["7"]).fetchone()[1] == max(minutes.values())
    coalesced = Counter(
        recorded.event.routine_id for recorded in fired if isinstance(recorded.event.outcome, Coalesced)
    )
    shares = {row[0]: row[2] for row in analyst.execute(queries["3"]).fetchall()}
    assert sum(shares.values()) == coalesced.total()
    lost = sum(
        recorded.event.count
        for recorded in projected_story.store.history()
        if isinstance(recorded.event, TriggerMissed)
    )
    assert sum(row[3] for row in analyst.execute(queries["9"]).fetchall()) == lost


# Made-up numbers.
HOURS = [(hour, 0.4 + 6 * (hour in (2, 3)) + 0.05 * hour) for hour in range(24)]
DAYS = [
    (title, date(2026, 3, day), 24, share * (day > 9) if title.startswith("Sync") else share * (day % 5 == 0))
    for title, share in (("Sync invoices", 0.25), ("Weekly report", 0.5), ("Triage of new issues", 0.04))
    for day in range(1, 15)
]


@pytest.mark.parametrize(
    ("file", "draw", "numbers"),
    [("lateness-by-hour", lateness.plot, HOURS), ("failure-rate", failure_rate.plot, DAYS)],
    ids=["lateness", "failures"],
)
def test_a_plot_is_that_of_the_page(root, file, draw, numbers):
    """`UPDATE_PLOTS=1` draws it anew."""
    picture = draw(numbers)

    path = root / f"docs/plots/{file}.svg"
    if "UPDATE_PLOTS" in os.environ:
        path.write_text(picture)
    assert path.read_text() == picture
    assert f"](plots/{path.name})" in PAGE.read_text()


def test_a_year_of_failures_is_a_picture_in_which_each_day_can_be_seen():
    year = [("Sync", date(2026, 1, 1) + timedelta(days=number), 24, 0.5) for number in range(365)]

    picture = ET.fromstring(failure_rate.plot(year))

    assert {"1"} == {cell.attrib["width"] for cell in picture.iter("{http://www.w3.org/2000/svg}rect")}


@SHARED
@pytest.mark.parametrize(
    ("number", "query", "draw"),
    [("2", lateness.BY_HOUR, lateness.plot), ("1", failure_rate.BY_DAY, failure_rate.plot)],
    ids=["lateness", "failures"],
)
def test_an_example_asks_what_the_page_asks(analyst, number, query, draw):
    queries = {number: query for number, _, query in QUESTIONS}

    assert " ".join(queries[number].rstrip(";\n").split()) == " ".join(query.split())
    assert ET.fromstring(draw(analyst.execute(query).fetchall())).tag.endswith("svg")


def test_a_start_does_not_wait_for_an_analyst_who_reads(projected_story, conn, admin_url):
    with psycopg.connect(admin_url) as reader:
        reader.execute("SELECT count(*) FROM analytics.runs")  # its transaction stays open
        conn.execute("SET lock_timeout = '50ms'")

        installed.define_views(conn, catalogue.ALL, log_views.OF_LOG)

    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("REVOKE SELECT ON analytics.runs FROM routines_analyst")
        installed.define_views(conn, catalogue.ALL, log_views.OF_LOG)
        right = "SELECT has_table_privilege('routines_analyst', 'analytics.runs', 'SELECT')"
        assert admin.execute(right).fetchone() == (True,)
