"""Settings, read once from the environment."""

import pytest

from routines.settings import BadSetting, from_env

URL = "postgresql://somebody@/somewhere"


def test_what_is_not_set_has_its_default():
    assert (16, 10, 5.0) == tuple(
        getattr(from_env({"ROUTINES_DATABASE_URL": URL}), name) for name in ("threads", "connections", "patience_s")
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("DATABASE_URL", ""), ("THREADS", "abc"), ("BATCH", "0"), ("LOG_LEVEL", "loud"), ("PATIENCE_S", "-1")]
    + [("KEY_FILE", ""), ("WEBHOOK_RATE", "-1")]
    + [
        ("PUBLIC_URL", url)
        for url in ("", "here", "ftp://here", "https://", "http://a?b", "http://a#b", "http://a:b@c")
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str):
    with pytest.raises(BadSetting, match=f"ROUTINES_{name}"):
        from_env({"ROUTINES_DATABASE_URL": URL, f"ROUTINES_{name}": value})


def test_the_public_url_has_no_slash_at_its_end():
    given = {"ROUTINES_DATABASE_URL": URL, "ROUTINES_PUBLIC_URL": "https://example.org/routines/"}

    assert "https://example.org/routines" == from_env(given).public_url


def test_a_missing_database_is_named():
    with pytest.raises(BadSetting, match="ROUTINES_DATABASE_URL"):
        from_env({})


def test_a_malformed_url_is_refused_without_its_password():
    with pytest.raises(BadSetting) as refused:
        from_env({"ROUTINES_DATABASE_URL": "postgress://somebody:secret@host/db"})

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


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
    given = {"ROUTINES_DATABASE_URL": URL, "ROUTINES_TRUSTED_PROXIES": "10.0.0.7, 192.168.3.0/24,2001:db8::1"}

    assert ["10.0.0.7/32", "192.168.3.0/24", "2001:db8::1/128"] == list(map(str, from_env(given).proxies))
    assert () == from_env(given | {"ROUTINES_TRUSTED_PROXIES": " "}).proxies


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
