"""What others wrote is shown by every command, and obeyed by no terminal."""

import json

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from application.access import Caller
from application.request_bodies.board import CompanyDraft
from application.use_cases.board import companies, keys
from projections.engine import positions
from routines.cli import main
from routines.commands import terminal
from routines.demo.console import DemoConsole
from routines.demo.fixtures import Failed
from routines.local.up import say
from tests.routines.hostile import HOSTILE, assert_harmless, is_harmless


@pytest.fixture
def routines(settings, tmp_path):
    def call(*arguments):
        env = {"ROUTINES_DATABASE_URL": settings.database_url, "ROUTINES_KEY_FILE": str(tmp_path / "keys")}
        return CliRunner().invoke(main, arguments, env=env, prog_name="routines")

    return call


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b\x7f", "\\x9b\\x7f"),
        ("\u202egnp", "\\u202egnp"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text, output):
    assert terminal.make_visible(text) == output


@pytest.mark.parametrize(
    "text",
    [
        "Say hello [red] \\x1b",
        "Zażółć gęślą jaźń",
        "日本語\u3000全角",
        "مرحبا",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f468\u200d\U0001f469",
    ],
)
def test_text_of_any_script_stays_as_it_is(text):
    assert terminal.make_visible(text) == text


@given(st.text(st.characters()))
def test_nothing_that_is_shown_is_obeyed(text):
    assert all(is_harmless(character) for character in terminal.make_visible(text))


@given(st.text())
def test_json_is_the_same_value_and_harmless(text):
    line = terminal.json_line({"title": text, text: 1})

    assert json.loads(line) == {"title": text, text: 1}
    assert all(is_harmless(character) for character in line)


def test_the_log_is_json_that_no_terminal_obeys(routines, system):
    token = system.executor.attempt(keys.mint_first).result.token
    system.executor.execute(Caller(token=token), companies.create, CompanyDraft(name=HOSTILE))

    result = routines("log")

    assert result.exit_code == 0, result.output
    assert_harmless(result.output)
    events = [json.loads(line)["event"] for line in result.output.splitlines()]
    assert repr(HOSTILE) in repr(events)


def test_why_a_read_model_stopped_is_shown_and_not_obeyed(routines, monkeypatch):
    original = positions.status
    monkeypatch.setattr(positions, "status", lambda conn: [replace(one, stopped=HOSTILE) for one in original(conn)])
    monkeypatch.setenv("COLUMNS", "400")

    table, lines = routines("projections", "status"), routines("projections", "status", "--json")

    assert table.exit_code == lines.exit_code == 0
    assert_harmless(table.output)
    assert_harmless(lines.output)
    assert "[red]x[/red]" in table.output
    assert {one["stopped"] for one in json.loads(lines.output)} == {HOSTILE}


def test_the_state_of_the_read_models_is_whole_in_eighty_columns(routines, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    table = routines("projections", "status")

    assert "Position" in table.output
    assert "…" not in table.output


def test_a_key_by_a_strange_name_is_refused_by_that_name(routines):
    result = routines("secrets", "retire-key", HOSTILE)

    assert result.exit_code == 1
    assert_harmless(result.output)


def test_the_demo_shows_what_it_is_told(capsys):
    screen = DemoConsole()

    screen.step("output", HOSTILE)
    screen.continue_step(HOSTILE)
    screen.wait(HOSTILE)

    output = capsys.readouterr().out
    assert_harmless(output)
    assert output.count("[red]x[/red]") == 2
    assert_harmless(Failed(HOSTILE).format_message())


def test_up_shows_the_last_words_of_a_part(capsys):
    say(HOSTILE)

    assert_harmless(capsys.readouterr().out)


def test_what_the_encoding_of_a_terminal_does_not_have_is_an_escape():
    result = CliRunner(charset="iso-8859-1").invoke(echo_text, [HOSTILE + "\u4e2d"])

    assert result.exit_code == 0, result.output
    assert result.stdout_bytes.decode("ascii").endswith("\\u4e2d\n")


@click.command()
@click.argument("text")
def echo_text(text):
    terminal.echo(text)


@pytest.mark.parametrize("lines", [(), ("",), ("one", "", "t\x1bwo")])
def test_each_line_is_printed_and_without_lines_nothing_is(capsys, lines):
    terminal.echo(*lines)

    assert "".join(f"{line}\n" for line in lines).replace("\x1b", "\\x1b") == capsys.readouterr().out
