"""Addresses that others give us: what they must look like."""

import pytest

from domain.delivery.outbound_url import BadTarget, host_of, is_private_by_name, must_be_url
from domain.errors import InvalidField

GOOD = [
    ("https://example.com", "example.com"),
    ("http://example.com:8080/a?b=c", "example.com"),
    ("HTTPS://EXAMPLE.com/", "example.com"),
    ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
    ("https://example.com./", "example.com."),
    ("http://8.8.8.8/", "8.8.8.8"),
    ("http://127.0.0.1:1/", "127.0.0.1"),
    ("http://[::1]:80/", "::1"),
    ("http://[0:0:0:0:0:ffff:127.0.0.1]/", "::ffff:7f00:1"),
    ("https://a-b_c.example/x", "a-b_c.example"),
    ("https://3com.example/", "3com.example"),
]
BAD = [
    "",
    "example.com",
    "//example.com",
    "ftp://example.com",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "javascript:alert(1)",
    "http://",
    "http:///path",
    "http://:80/",
    "http://user@example.com/",
    "http://user:pass@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com/#part",
    "http://127.0.0.1#@example.com:99999/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:x/",
    "http://exa mple.com/",
    "http://example.com/\n",
    "http://example.com\r\nHost: x",
    "http://example.com\t/",
    "http://example.com\\@127.0.0.1/",
    "http://\u2460.example/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://b\u00fccher.example/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://127.0.0.1./x.1",
    "http://127.0.0.0x1/",
    "http://127.0.0.256/",
    "http://1.2.3.4.5/",
    "http://127.0.0.01/",
    "http://[::1/",
    "http://[::1%25eth0]/",
    "http://[127.0.0.1]/",
    "http://[v1.x]/",
    "http://%31%32%37.0.0.1/",
    "http://a..b/",
    "http://-a.example/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 127 + "example/",
    "http://example.com/" + "a" * 2048,
]


@pytest.mark.parametrize(("url", "host"), GOOD)
def test_a_url_names_its_host(url, host):
    assert host_of(url) == host


@pytest.mark.parametrize("url", BAD)
def test_what_could_be_read_in_two_ways_is_refused(url):
    with pytest.raises(BadTarget):
        host_of(url)


def test_whoever_sends_it_is_told_which_field_it_was():
    with pytest.raises(InvalidField) as refusal:
        must_be_url("ftp://x", "webhook_url", allow_private=True)

    assert (refusal.value.field, refusal.value.message) == (
        "webhook_url",
        "webhook_url must begin with http:// or https://",
    )


@pytest.mark.parametrize(
    ("host", "is_private"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("printer.local", True),
        ("metadata.google.internal", True),
        ("router.home.arpa", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("8.8.8.8", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("notlocal", False),
    ],
)
def test_a_name_that_no_public_zone_has_is_known_before_it_is_resolved(host, is_private):
    assert is_private_by_name(host) is is_private


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.5/x",
        "https://192.168.1.1:8443/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[::ffff:10.0.0.5]/",
        "http://localhost/",
        "http://LOCALHOST.:8080/x",
        "http://queue.internal/",
    ],
)
def test_a_private_host_is_refused_by_its_name_unless_private_ones_are_allowed(url):
    with pytest.raises(InvalidField) as refusal:
        must_be_url(url, "url", allow_private=False)
    must_be_url(url, "url", allow_private=True)

    assert "url" == refusal.value.field
    assert refusal.value.message.startswith("url must name a public host")
    assert "ROUTINES_ALLOW_PRIVATE_TARGETS" in refusal.value.message


@pytest.mark.parametrize(
    "url", ["https://example.com/", "http://8.8.8.8/", "http://[2606:4700::1111]/", "http://queue/"]
)
def test_a_public_host_and_a_name_that_has_to_be_looked_up_are_taken(url):
    must_be_url(url, "url", allow_private=False)
