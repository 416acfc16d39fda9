"""A read model whose fold makes other rows says so by its version, or installations would keep the old ones for good."""

import ast

import pytest
from msgspec.structs import replace

from projections import catalogue
from projections.engine.read_model import ReadModel
from tests.projections import read_model_digests as digests

WHAT_TO_DO = """
What the rows of {names} are made by has changed, and the version has not.
If it makes other rows of the same events: raise `version` in the read model's definition, so that installations rebuild it.
If the rows stay the same (a rename of a field that is in no row, another way to the same end): keep the version.
Then write the new digest down with `make read-model-digests`, and commit {file}."""


def test_a_changed_fold_has_a_new_version_or_a_digest_that_somebody_has_looked_at():
    kept, entries = digests.read_digests(), digests.digests()
    changed = [name for name, entry in entries.items() if kept.get(name) != entry]

    assert not changed, WHAT_TO_DO.format(names=", ".join(changed), file=digests.FILE.name)
    assert kept.keys() == entries.keys(), "Write down which read models there are with `make read-model-digests`"


def test_every_read_model_has_a_digest():
    assert {model.name for model in catalogue.ALL} == digests.digests().keys()


def test_the_version_is_part_of_the_shape_and_so_are_the_tables():
    model = catalogue.ALL[0]

    assert model.schema_hash != replace(model, version=model.version + 1).schema_hash
    assert model.schema_hash != replace(model, schema=model.schema + " ").schema_hash


MODULE = '''
import msgspec
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Row, Table

SEEN = ("todo",)


class NoteRow(Row, frozen=True, kw_only=True):
    """A row."""

    text: str  # as it was said


def fold(recorded: int, rows: Rows) -> None:
    """Into rows."""
    for word in recorded.words:
        rows.put(NOTE, shown(word, recorded))


def shown(word, recorded):
    return NoteRow(id=recorded.id, text=word.upper() if word in SEEN else "")


def asked(conn):
    return conn.execute("SELECT 1")


NOTE = Table("note", NoteRow)
notes = ReadModel(name="notes", version=1, tables=(NOTE,), schema="", fold=fold, keys_to_prefetch=lambda _: ())
'''


@pytest.fixture
def digest_of(monkeypatch):
    """The digest of a read model `notes` whose module has this text."""
    statements_of = digests._top_level_statements

    def digest(text):
        top = {}
        for node in ast.parse(text).body:
            for name in digests._defined_by(node):
                top.setdefault(name, []).append(node)
        monkeypatch.setattr(
            digests,
            "_top_level_statements",
            lambda module: top if module == "projections.notes" else statements_of(module),
        )
        return digests.Tree(("projections.notes", "notes")).digest()

    return digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rows.put(", "rows.change("),
        ("word.upper()", "word.lower()"),
        ('("todo",)', '("todo", "done")'),
        ("text: str ", "text: bytes "),
        ("text", "words"),
        ('"note", ', '"notes", '),
        ('schema=""', 'schema=" "'),
        ("lambda _: ()", "lambda _: (1,)"),
        ("for word in recorded.words", "for word in recorded.lines"),
        ('else ""', 'else "-"'),
    ],
)
def test_a_digest_changes_with_what_makes_the_rows(digest_of, old, new):
    assert digest_of(MODULE) != digest_of(MODULE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # as it was said", ""),
        ('"""Into rows."""', '"""Something else."""'),
        ("shown", "row_of"),
        ("NoteRow", "Note"),
        ("SEEN", "KNOWN"),
        ("word", "each"),
        ("recorded: int", "recorded: str"),
        ("SELECT 1", "SELECT 2"),
        ("version=1", "version=2"),
        ("\n\n\n", "\n\n\n\n"),
    ],
)
def test_a_digest_stays_when_only_names_and_words_change(digest_of, old, new):
    text = MODULE.replace("recorded.words", "recorded.lines")

    assert digest_of(text) == digest_of(text.replace(old, new))


def test_a_digest_sees_what_the_domain_does_for_a_fold():
    reached = digests.Tree(("projections.firing.occurrences", "occurrences"))._numbers

    assert {module.split(".")[0] for module, _ in reached} == {"domain", "projections"}


def test_the_engine_is_not_part_of_a_digest():
    modules = {module for name in catalogue.ALL for module, _ in tree_of(name)._numbers}

    assert ReadModel.__module__ not in modules


def tree_of(model):
    """The tree of a read model of the catalogue."""
    return digests.Tree(next(place for place in digests._definitions_of_read_models() if place[1] == model.name))
