"""Settings, read once from the environment."""

import re
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from domain.bounds.limits import Limits
from domain.proof.checkpoints import verifier_key
from routines.settings import BadSetting, Settings, describe_database, from_env, ignored_settings
from tests.witness import Cosigner

URL = "postgresql://somebody@/somewhere"


def test_what_is_not_set_has_its_default():
    assert (16, 10, 5.0) == tuple(
        getattr(from_env({"ROUTINES_DATABASE_URL": URL}), name) for name in ("threads", "connections", "patience_s")
    )


NUMBERS = [
    field.name
    for struct in (Settings, Limits)
    for field in msgspec.structs.fields(struct)
    if isinstance(inspect.type_info(field.type), inspect.IntType | inspect.FloatType)
]


@pytest.mark.parametrize("value", ["abc", "", "-7", "nan", "1e99"])
def test_a_number_that_is_none_or_too_large_is_told_with_its_variable_and_its_bounds(value: str):
    for variable in (f"ROUTINES_{name.upper()}" for name in NUMBERS):
        with pytest.raises(BadSetting) as refusal:
            from_env({"ROUTINES_DATABASE_URL": URL, variable: value})

        says = rf"{variable} is ('{value}'|empty), and must be a (whole )?number (from|above) [\d,]+ (to [\d,]+|on)"
        assert re.fullmatch(says, str(refusal.value))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("THREADS", "abc", "is 'abc', and must be a whole number from 2 to 200"),
        ("PATIENCE_S", "61", "is '61', and must be a number above 0 to 60"),
        ("LOG_LEVEL", "loud", "is 'loud', and must be one of debug, error, info, warning"),
        ("ALLOW_PRIVATE_TARGETS", "yes", "is 'yes', and must be true or false"),
        ("KEY_FILE", "", "is empty, and must be a text of at least one character"),
        ("DATABASE_URL", "", "is not set: which Postgres is it?"),
        ("THREADS", "9" * 99, f"is '{'9' * 60}...', and must be a whole number from 2 to 200"),
    ],
)
def test_a_wrong_setting_is_told_in_a_sentence_that_names_the_variable(name: str, value: str, expected: str):
    with pytest.raises(BadSetting) as refusal:
        from_env({"ROUTINES_DATABASE_URL": URL, f"ROUTINES_{name}": value})

    assert str(refusal.value).startswith(f"ROUTINES_{name} {expected}")


def test_a_variable_that_looks_like_a_setting_and_is_none_is_told_with_the_one_that_was_meant():
    env = {
        "ROUTINES_TRUSTED_PROXY": "10.0.0.7",
        "ROUTINES_PATIENCE_MS": "500",
        "ROUTINES_MAX_COMPANY_LOG_BYTE": "1",
        "ROUTINES_COLOUR": "red",
        "ROUTINE_BATCH": "7",
    }

    assert [
        "ROUTINES_COLOUR is no setting and has no effect",
        "ROUTINES_MAX_COMPANY_LOG_BYTE is no setting and has no effect: is ROUTINES_MAX_COMPANY_LOG_BYTES meant?",
        "ROUTINES_PATIENCE_MS is no setting and has no effect: is ROUTINES_PATIENCE_S meant?",
        "ROUTINES_TRUSTED_PROXY is no setting and has no effect: is ROUTINES_TRUSTED_PROXIES meant?",
    ] == ignored_settings(env)


def test_no_variable_that_the_documentation_names_is_taken_for_a_slip(root: Path):
    pages = [path.read_text() for path in (root / "README.md", root / "docs/limits.md")]
    rows = [match for page in pages for match in re.findall(r"^\| `?(ROUTINES_[A-Z_]+[A-Z])`? \|", page, re.MULTILINE)]
    of_operators = re.findall(r"^#? ?(ROUTINES_\w+)=", (root / "deploy/systemd/routines.env").read_text(), re.MULTILINE)

    assert len(rows) > len(msgspec.structs.fields(Settings)) - 2
    assert [] == ignored_settings(dict.fromkeys((*rows, *of_operators), "1"))


@pytest.mark.parametrize(
    "url", ["", "here", "ftp://here", "https://", "http://a?b", "http://a#b", "http://a:b@c", "http://a:65536"]
)
def test_a_public_url_is_one_that_paths_can_be_added_to(url: str):
    with pytest.raises(BadSetting, match="ROUTINES_PUBLIC_URL must be an address like https://"):
        from_env({"ROUTINES_DATABASE_URL": URL, "ROUTINES_PUBLIC_URL": url})


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://parts:secret@db.example:5433/routines", "routines on db.example:5433 as parts"),
        ("postgresql://parts@/routines?host=%2Frun%2Fpostgres", "routines on /run/postgres as parts"),
        ("host=db.example password=secret", "the default one on db.example"),
    ],
)
def test_a_database_is_told_without_its_password(url: str, words: str):
    assert words == describe_database(url)


def test_the_public_url_has_no_slash_at_its_end():
    variables = {"ROUTINES_DATABASE_URL": URL, "ROUTINES_PUBLIC_URL": "https://example.org/routines/"}

    assert "https://example.org/routines" == from_env(variables).public_url


def test_a_missing_database_is_named():
    with pytest.raises(BadSetting, match="ROUTINES_DATABASE_URL"):
        from_env({})


def test_a_malformed_url_is_refused_without_its_password():
    with pytest.raises(BadSetting) as refusal:
        from_env({"ROUTINES_DATABASE_URL": "postgress://somebody:secret@host/db"})

    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "variable", "part"),
    [
        ("postgresql://me@db/routines", "PGPORT", "port"),
        ("postgresql://me@:5432/routines", "PGHOST", "host"),
        ("host=db port=5432 dbname=routines", "PGUSER", "user"),
        ("postgresql://me@db:5432", "PGDATABASE", "dbname"),
    ],
)
def test_a_url_that_leaves_open_what_the_shell_says_is_refused(url: str, variable: str, part: str):
    """Neither the one nor the other is taken in silence."""
    with pytest.raises(BadSetting, match=f"names no {part}, and {variable} is set"):
        from_env({"ROUTINES_DATABASE_URL": url, variable: "other"})


def test_a_url_that_says_everything_does_not_heed_the_shell():
    others = dict.fromkeys(("PGHOST", "PGPORT", "PGUSER", "PGDATABASE"), "other")

    for url in ("postgresql://me@db:5432/routines", "postgresql://?service=routines"):
        assert url == from_env({"ROUTINES_DATABASE_URL": url, **others}).database_url


def test_the_trusted_proxies_are_addresses_and_networks():
    variables = {"ROUTINES_DATABASE_URL": URL, "ROUTINES_TRUSTED_PROXIES": "10.0.0.7, 192.168.3.0/24,2001:db8::1"}

    assert ["10.0.0.7/32", "192.168.3.0/24", "2001:db8::1/128"] == list(map(str, from_env(variables).proxies))
    assert () == from_env(variables | {"ROUTINES_TRUSTED_PROXIES": " "}).proxies


@pytest.mark.parametrize("text", ["*", "10.0.0.7,*", "0.0.0.0/0", "::/0"])
def test_not_everybody_can_be_a_trusted_proxy(text: str):
    with pytest.raises(
        BadSetting, match=r"ROUTINES_TRUSTED_PROXIES: .* believes whoever connects\. Name the addresses"
    ):
        from_env({"ROUTINES_DATABASE_URL": URL, "ROUTINES_TRUSTED_PROXIES": text})


@pytest.mark.parametrize(
    "text", ["proxy.example", "10.0.0.7,", "10.0.0.7/24", "10.0.0", "10.0.0.7:80", "fe80::1%eth0/64"]
)
def test_what_is_no_address_of_a_proxy_is_refused(text: str):
    """A name, or a network with bits of a host, would silently be nobody's."""
    with pytest.raises(BadSetting, match=r"ROUTINES_TRUSTED_PROXIES: .* is no address and no network"):
        from_env({"ROUTINES_DATABASE_URL": URL, "ROUTINES_TRUSTED_PROXIES": text})


W1, W2 = Cosigner("witness.example/w1").verifier_key, Cosigner("witness.example/w2").verifier_key


def test_each_witness_is_a_url_and_its_verifier_key():
    text = f"https://witness.example/w1 {W1}, http://10.0.0.7:8080/  {W2} ,"

    witnesses = from_env({"ROUTINES_DATABASE_URL": URL, "ROUTINES_WITNESSES": text}).log_witnesses

    assert [(one.url, one.verifier_key, one.key.name) for one in witnesses] == [
        ("https://witness.example/w1", W1, "witness.example/w1"),
        ("http://10.0.0.7:8080/", W2, "witness.example/w2"),
    ]
    assert from_env({"ROUTINES_DATABASE_URL": URL, "ROUTINES_WITNESSES": ""}).log_witnesses == ()


@pytest.mark.parametrize(
    "text",
    [
        "https://witness.example",
        W1,
        f"ftp://witness.example {W1}",
        f"https://user:word@witness.example {W1}",
        f"https://witness.example {W1[:-1]}",
        f"https://witness.example {W1.replace('/w1+', '/w3+')}",
        f"https://witness.example {verifier_key('witness.example', bytes(32))}",
        f"https://one.example {W1}, https://two.example {W1}",
    ],
)
def test_a_witness_that_cannot_be_asked_is_refused_at_the_start(text):
    with pytest.raises(BadSetting, match="ROUTINES_WITNESSES"):
        from_env({"ROUTINES_DATABASE_URL": URL, "ROUTINES_WITNESSES": text})


@pytest.mark.parametrize("url", ["https://w1:sesame@w1.example", "https://w1.example?key=sesame"])
def test_the_url_of_a_witness_holds_no_secret_and_none_is_said(url):
    with pytest.raises(BadSetting, match="must hold no user, no password and no query") as raised:
        from_env({"ROUTINES_DATABASE_URL": URL, "ROUTINES_WITNESSES": f"{url} {W1}"})
    assert "sesame" not in str(raised.value)
