"""What deploy/ and docs/operate.md name is there: settings, commands, files, targets of make."""

import re

import msgspec
import pytest

from domain.bounds.limits import Limits
from routines.cli import main
from routines.settings import Settings

VARIABLE = re.compile(r"\bROUTINES_[A-Z_]+\b(?!_?\.\.\.)")
COMMAND = re.compile(r"(?:`|bin/|^|\n)routines ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[\w-]+)?\)")
OF_THE_WORKER = {"ROUTINES_URL", "ROUTINES_AGENT_TOKEN", "ROUTINES_ISSUE_TITLE", "ROUTINES_WORKER_PASS_TOKEN"}
OF_UP = {"ROUTINES_PG_BIN"}


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/operate.md").read_text()


@pytest.fixture(scope="module")
def texts(root, page):
    files = [path for path in (root / "deploy").rglob("*") if path.is_file()]
    return {"operate.md": page, **{path.name: path.read_text() for path in files}}


def test_every_variable_is_a_setting(texts):
    fields = [*msgspec.structs.fields(Settings), *msgspec.structs.fields(Limits)]
    known = {f"ROUTINES_{field.name.upper()}" for field in fields} | OF_THE_WORKER | OF_UP

    assert {} == {name: unknown for name, text in texts.items() if (unknown := set(VARIABLE.findall(text)) - known)}


def test_every_command_is_there(texts):
    named = {(name, *found) for name, text in texts.items() for found in COMMAND.findall(text)}

    assert len(named) > 10
    for name, command, sub in named:
        group = main.get_command(None, command)
        assert group, (name, command)
        assert not (subs := getattr(group, "commands", {})) or not sub or sub in subs, (name, command, sub)


def test_every_unit_that_is_named_is_there(root, texts):
    files = [
        path.name for kind in ("service", "target") for path in (root / "deploy/systemd").glob(f"routines*.{kind}")
    ]
    units = {name.removesuffix(".service") for name in files}
    named = set(
        re.findall(
            r"\broutines-(?:web|worker)@|\broutines-(?:scheduler|projector|delivery)\b|routines\.target",
            texts["operate.md"],
        )
    )

    assert named == units


def test_every_file_that_the_page_links_to_is_there(root, page):
    assert [] == [link for link in LINK.findall(page) if not (root / "docs" / link).exists()]


def test_every_target_of_make_is_there(root, page):
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))

    assert set() == set(re.findall(r"make (?:-C \S+ )?([a-z]+(?:-[a-z]+)*)[`\n]", page)) - targets


def test_the_page_has_every_file_of_deploy(root, page):
    named = set(re.findall(r"deploy/([a-z]+)", page))

    assert {path.name for path in (root / "deploy").iterdir()} == named
