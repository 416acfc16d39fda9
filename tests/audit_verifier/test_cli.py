"""The verifier as auditors call it: what it is given, what it says, and how it ends."""

import io
import json
import random
from base64 import b64encode
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from audit_verifier import cli, rows
from routines.bootstrap import System
from tests.witness import MOMENT, Cosigner
from verification.tampering import databases, logs
from verification.tampering.logs import NAME, Anchors, Log


class Case:
    """A log of forty events, its export, and the checkpoints that somebody has kept of it."""

    def __init__(self, directory: Path) -> None:
        self.log = logs.random_log(random.Random(3), 40)
        self.anchors = logs.sign_checkpoints(self.log, 10)
        self.export = directory / "log.ndjson"
        self.kept = directory / "kept"
        self.key = self.anchors.key.verifier_key(NAME)
        self.kept.mkdir()
        for number, text in enumerate(self.anchors.checkpoints):
            (self.kept / f"{number}.checkpoint").write_text(text)
        self.write(self.log)

    def write(self, log: Log) -> None:
        self.export.write_bytes(logs.export_log(log))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.fixture
def run_verifier(capsys):
    def run_verifier(*arguments: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = int(str(ended.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_verifier


def test_a_healthy_export_is_said_to_be_so(case, run_verifier):
    code, said, _ = run_verifier("verify", "--export", case.export, "--checkpoint", case.kept, "--key", case.key)

    assert (code, said) == (0, "40 events, compared with 6 checkpoint(s): nothing is wrong\n")


def test_a_key_may_be_a_file_and_scripts_get_json(case, run_verifier, tmp_path):
    file = tmp_path / "log.vkey"
    file.write_text(case.key + "\n")

    code, said, _ = run_verifier("verify", "--json", "--export", case.export, "--checkpoint", case.kept, "--key", file)

    assert code == 0
    assert json.loads(said) == {
        "events": 40,
        "hash": case.log.head.hash.hex(),
        "checkpoints": 6,
        "findings": [],
        "witnesses": [],
        "signaturesVerified": True,
        "complete": True,
    }


def test_without_a_key_it_says_that_nobodys_signature_was_verified(case, run_verifier):
    _, said, _ = run_verifier("verify", "--export", case.export, "--checkpoint", case.kept)

    assert "whose signatures were not verified (--key)" in said
    assert "compared with no checkpoint" in run_verifier("verify", "--export", case.export)[1]


def test_what_is_wrong_is_named_by_its_kind_and_position(case, run_verifier):
    rows = list(case.log.rows)
    del rows[20]
    case.write(Log(tuple(rows), case.log.head))

    code, said, _ = run_verifier("verify", "--export", case.export)

    assert code == 1
    assert said.startswith("deleted at 21: rows are gone\n")
    assert run_verifier("verify", "--json", "--export", case.export)[0] == 1


def test_a_checkpoint_by_somebody_else_is_a_finding_and_is_not_believed(case, run_verifier, tmp_path):
    other = case.kept / "forged.checkpoint"
    other.write_text(case.anchors.checkpoints[0].replace("\n10\n", "\n11\n"))

    code, said, _ = run_verifier("verify", "--export", case.export, "--checkpoint", other, "--key", case.key)

    assert code == 1
    assert said.startswith(f"bad signature at 11: {other}: its signature is not by the key\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not an export"),
        (b'{"format":"other"}\n', "is not an export"),
        (b'{"format":"routines-log-export/1"}\n', "does not say where the log ends"),
        (b'{"format":"routines-log-export/1","position":Infinity,"hash":""}\n', "does not say where the log ends"),
        (b'{"format":"routines-log-export/1","position":0,"hash":"","checkpoint":7}\n', "checkpoint that is none"),
        (
            b'{"format":"routines-log-export/1","position":1,"hash":""}\n{"position":9223372036854775808,"stream":"%b",'
            b'"version":1,"name":"a","recordedAt":1,"recordedBy":null,"hash":"","bodySha256":"00"}\n'
            % str(UUID(int=1)).encode(),
            "line 2 is not a row of the log",
        ),
        (b'{"format":"routines-log-export/1","position":1,"hash":""}\nnothing\n', "line 2 is not a row of the log"),
        (
            b'{"format":"routines-log-export/1","position":1,"hash":""}\n{"position":1}\n',
            "line 2 is not a row of the log",
        ),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(run_verifier, tmp_path, content, words):
    file = tmp_path / "file"
    file.write_bytes(content)

    code, said, error = run_verifier("verify", "--export", file)

    assert (code, said) == (2, "")
    assert words in error


@pytest.mark.parametrize(
    "more",
    [
        lambda body: b'"body":{"sum":7},"bodyBase64":"' + b64encode(body) + b'"',
        lambda body: b'"body":' + body + b',"body":{"sum":7}',
        lambda body: b'"name":"run.failed","body":' + body,
        lambda body: b'"actor":"nobody","body":' + body,
    ],
    ids=["two bodies", "one body twice", "two names", "another field"],
)
def test_a_line_from_which_others_could_read_something_else_is_not_accepted(case, run_verifier, more):
    lines = case.export.read_bytes().splitlines(keepends=True)
    place, line = next((place, line) for place, line in enumerate(lines) if b',"body":' in line)
    start = line.index(b'"body":')
    body = line[start + len(b'"body":') : -2]
    lines[place] = line[:start] + more(body) + b"}\n"
    case.export.write_bytes(b"".join(lines))

    assert run_verifier("verify", "--export", case.export)[0] != 0


@pytest.mark.parametrize(
    "other",
    [
        lambda stream: stream.replace("-", "") + "beef",
        lambda stream: stream[:8] + stream.replace("-", "")[8:] + "beef",
        lambda stream: stream[:-2] + "--",
    ],
    ids=["longer", "longer with a dash", "shorter"],
)
def test_an_id_of_another_length_is_not_taken_for_the_one_that_was_recorded(case, run_verifier, other):
    lines = case.export.read_bytes().splitlines(keepends=True)
    for place, line in enumerate(lines[1:], 1):
        stream = json.loads(line)["stream"]
        changed = line.replace(stream.encode(), other(stream).encode()[:36].ljust(36, b"0"), 1)
        case.export.write_bytes(b"".join([*lines[:place], changed, *lines[place + 1 :]]))

        assert run_verifier("verify", "--export", case.export)[0] == 2


def test_lines_of_any_length_are_read_whole():
    lines = [b"a" * size for size in (0, 5 * rows.CHUNK + 1, 7, rows.CHUNK, rows.CHUNK - 1, 3)]

    assert [line for part in rows._read_lines(io.BytesIO(b"\n".join(lines))) for line in part] == lines


def test_nonsense_ends_with_a_sentence(case, run_verifier, tmp_path):
    deep, odd = tmp_path / "deep", tmp_path / "odd.checkpoint"
    deep.write_bytes(b"[" * 100_000)
    odd.write_text(case.anchors.checkpoints[0].replace(f"{NAME}\n", f"{NAME}/companies/{'-' * 36}\n", 1))

    for more in ("ÄÄÄÄ", "\ud800"):
        header, rest = case.export.read_bytes().split(b"\n", 1)
        checkpoint = case.anchors.checkpoints[0].replace("\n\n", "\n\ud800\n\n") + f"\N{EM DASH} somebody {more}\n"
        odd_export = tmp_path / "odd.ndjson"
        odd_export.write_bytes(json.dumps(json.loads(header) | {"checkpoint": checkpoint}).encode() + b"\n" + rest)
        assert (1, "") == run_verifier("verify", "--export", odd_export, "--key", case.key)[:2]

    assert (2, "") == run_verifier("verify", "--export", deep)[:2]
    assert (2, "") == run_verifier("check", deep, "--key", case.key)[:2]
    assert 1 == run_verifier("verify", "--export", case.export, "--checkpoint", odd, "--key", case.key)[0]
    assert "signatures were not verified" in run_verifier("verify", "--export", case.export, "--checkpoint", odd)[1]


def test_files_and_keys_that_are_none_end_with_a_sentence(run_verifier, case, tmp_path):
    assert run_verifier("verify", "--export", tmp_path / "nothing")[0] == 2
    assert run_verifier("verify", "--data-dir", tmp_path)[0] == 2
    assert run_verifier("verify", "--url", "ftp://x")[0] == 2
    assert run_verifier("verify", "--url", "http://127.0.0.1:1/api/log")[0] == 2
    assert run_verifier("verify", "--database", "postgresql://nobody@127.0.0.1:1/x")[0] == 2
    assert run_verifier("verify")[0] == 2
    reason = "the key is no Ed25519 key like name+id+base64, as `GET /api/log/key` answers it"
    (tmp_path / "answer").write_text('{"error":"Unauthorized"}')
    for command in (("verify", "--export", case.export), ("check", case.export)):
        assert run_verifier(*command, "--key", "a+b+c") == (2, "", f"routines-verify: {reason}\n")
        assert run_verifier(*command, "--key", tmp_path / "answer") == (
            2,
            "",
            f"routines-verify: {tmp_path / 'answer'}: {reason}\n",
        )
        assert run_verifier(*command, "--key", "missing.vkey")[2] == (
            "routines-verify: missing.vkey: No such file or directory\n"
        )


def test_a_database_is_read_with_an_auditors_login(case, run_verifier, system: System, admin_url: str):
    auditor = admin_url.replace("postgres@", "routines_auditor@")
    with psycopg.connect(admin_url, autocommit=True) as conn:
        with databases.hold_log(conn, case.log):
            columns = conn.execute("SELECT * FROM log.events").fetchall()
        conn.execute("ALTER TABLE log.events DISABLE TRIGGER ALL")
        conn.execute("ALTER TABLE log.head DISABLE TRIGGER ALL")
        with conn.cursor() as cursor:
            cursor.executemany(f"INSERT INTO log.events VALUES ({', '.join(['%s'] * len(columns[0]))})", columns)
        conn.execute("UPDATE log.head SET position = %s, hash = %s", (40, case.log.head.hash))
        code, said, _ = run_verifier("verify", "--database", auditor, "--checkpoint", case.kept, "--key", case.key)
        assert (code, said) == (0, "40 events, compared with 6 checkpoint(s): nothing is wrong\n")

        conn.execute("UPDATE log.events SET body = 'other' WHERE position = 17")

    code, said, _ = run_verifier("verify", "--database", auditor, "--key", case.key)
    assert code == 1
    assert said.startswith("changed at 16 to 17: ")


def test_where_no_option_names_a_log_it_is_the_database_of_the_environment(case, run_verifier, system, monkeypatch):
    monkeypatch.delenv("ROUTINES_DATABASE_URL", raising=False)
    code, _, said = run_verifier("verify", "--key", case.key)
    assert (code, True) == (
        2,
        said.endswith("name a log: --export, --database (or ROUTINES_DATABASE_URL), --data-dir or --url\n"),
    )

    monkeypatch.setenv("ROUTINES_DATABASE_URL", system.settings.database_url)
    code, said, _ = run_verifier("verify")
    assert (code, True) == (0, said.endswith("nothing is wrong\n"))
    _, said, _ = run_verifier("verify", "--export", case.export)
    assert said.startswith("40 events")


def test_a_checkpoint_that_an_export_brings_along_counts(case, run_verifier, tmp_path):
    anchors: Anchors = case.anchors
    newest = next(text for text in reversed(anchors.checkpoints) if "companies" not in text)
    lines = case.export.read_bytes().splitlines(keepends=True)
    header = json.loads(lines[0]) | {"checkpoint": newest}
    case.export.write_bytes(json.dumps(header).encode() + b"\n" + b"".join(lines[1:]))

    assert "compared with 1 checkpoint(s)" in run_verifier("verify", "--export", case.export, "--key", case.key)[1]


WITNESS = Cosigner("witness.example/w1")


def test_it_says_how_much_of_the_log_a_witness_has_seen(case, run_verifier):
    for number, text in enumerate(case.anchors.checkpoints[:2]):  # of the first 10 and 20 events
        (case.kept / f"{number}.checkpoint").write_text(f"{text}{WITNESS.line(text)}\n")
    arguments = (
        "--export",
        case.export,
        "--checkpoint",
        case.kept,
        "--key",
        case.key,
        "--witness",
        WITNESS.verifier_key,
    )

    code, said, _ = run_verifier("verify", *arguments)

    assert code == 0
    assert said.startswith("witness.example/w1 has seen the first 20 events, at 2026-11-29T")
    assert json.loads(run_verifier("verify", "--json", *arguments)[1])["witnesses"] == [
        {"name": WITNESS.name, "events": 20, "at": MOMENT}
    ]


def test_a_witness_that_has_cosigned_nothing_is_a_finding(case, run_verifier):
    code, said, _ = run_verifier(
        "verify", "--export", case.export, "--checkpoint", case.kept, "--witness", WITNESS.verifier_key
    )

    assert code == 1
    assert said.startswith("not witnessed at 1 to 40: witness.example/w1 has cosigned no checkpoint of this log\n")


def test_a_cosignature_of_another_checkpoint_or_by_another_key_is_none(case, run_verifier):
    first, second = case.anchors.checkpoints[:2]
    other = Cosigner("witness.example/w10")
    (case.kept / "0.checkpoint").write_text(f"{first}{WITNESS.line(second)}\n{other.line(first)}\n")

    code, said, _ = run_verifier(
        "verify", "--export", case.export, "--checkpoint", case.kept, "--witness", WITNESS.verifier_key
    )

    assert code == 1
    assert "bad signature at 10: the cosignature of witness.example/w1: its signature is not by the key\n" in said
    assert "not witnessed" in said


@pytest.mark.parametrize("key", ["no key", "a+00000000+AAAA", WITNESS.verifier_key.replace("/w1+", "/w2+")])
def test_a_key_of_a_witness_that_is_none_is_refused(case, run_verifier, key):
    code, _, complaint = run_verifier("verify", "--export", case.export, "--witness", key)

    assert code == 2
    assert "key" in complaint
    assert run_verifier("verify", "--export", case.export, "--witness", case.key)[0] == 2
