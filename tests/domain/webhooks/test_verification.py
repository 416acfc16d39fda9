"""
Who may fire a webhook: contract 6 (A3, A4), and Standard Webhooks 1.0.

Beside examples that others have published there are a corpus of requests that prove nothing (webhook_vectors), the
library `standardwebhooks` in both directions, and a verifier of the test's own, which shares no code with ours.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.pretty import pretty_repr
from standardwebhooks import Webhook, WebhookVerificationError

from domain.errors import Unauthenticated
from domain.webhooks import verification
from domain.webhooks.secret import Secret
from domain.webhooks.verification import Proof, WebhookRequest, verify
from tests.domain.webhooks.signed_requests import (
    GENUINE,
    MINTED_FOR,
    MODES,
    NAMES,
    NOON,
    NOON_S,
    READ,
    REFUSED,
    SECRET,
    SENT,
    VECTORS,
    WINDOW_S,
    is_refused,
    proof,
    secrets,
    stamped_headers,
    standard_headers,
    webhook_request,
)
from tests.domain.webhooks.webhook_vectors.refused import BODY, OTHER_SECRET, hex_hmac
from tests.examples import examples

# --- who is known


@pytest.mark.parametrize("mode", MODES)
def test_who_knows_the_secret_is_known(mode):
    stamp = f"{SENT}:{hex_hmac(SECRET, SENT.encode() + b'.' + BODY)}"
    expected = {"hmac_sha256": Proof(stamp=stamp), "standard_webhooks": Proof(message_id="msg_1")}

    assert proof(mode, GENUINE[mode]) == expected.get(mode, Proof())


@pytest.mark.parametrize("mode", [*READ])
def test_any_of_the_secrets_will_do_and_no_other(mode):
    assert proof(mode, GENUINE[mode], known_secrets=(OTHER_SECRET, SECRET)) == proof(mode, GENUINE[mode])
    assert proof(mode, GENUINE[mode], known_secrets=(SECRET, OTHER_SECRET)) == proof(mode, GENUINE[mode])
    assert is_refused(mode, GENUINE[mode], known_secrets=(OTHER_SECRET,))
    assert is_refused(mode, GENUINE[mode], known_secrets=())


@pytest.mark.parametrize("mode", [*READ])
def test_a_credential_for_one_mode_is_none_for_another(mode):
    """But that github_hmac takes the timestamped form too (A4)."""
    others = set(MODES) - {mode} - ({"hmac_sha256"} if mode == "github_hmac" else set())

    assert all(is_refused(mode, GENUINE[other]) for other in others)


def test_nothing_is_checked_where_nothing_is_asked():
    assert proof("none", {"authorization": "é", "x-paperclip-timestamp": "NaN"}, b"\xff", known_secrets=()) == Proof()


@pytest.mark.parametrize("mode", ["hmac_sha256", "github_hmac", "standard_webhooks"])
def test_nothing_is_signed_with_a_secret_whose_value_is_not_kept(mode):
    digest_only = Secret(digest=hashlib.sha256(SECRET.encode()).digest())

    with pytest.raises(Unauthenticated):
        verify(mode, webhook_request(GENUINE[mode]), [digest_only], WINDOW_S, NOON)


def test_a_bearer_is_known_by_the_digest_alone():
    digest_only = Secret(digest=hashlib.sha256(SECRET.encode()).digest())

    assert verify("bearer", webhook_request(GENUINE["bearer"]), [digest_only], WINDOW_S, NOON) == Proof()


@pytest.mark.parametrize("mode", [*READ])
@pytest.mark.parametrize("empty", ["", "whsec_"])
def test_an_empty_secret_is_known_to_nobody(mode, empty):
    signed = hmac.digest(b"", b"msg_1." + SENT.encode() + b"." + BODY, "sha256")
    attempts = {
        "bearer": {"authorization": "Bearer "},
        "hmac_sha256": stamped_headers(secret=""),
        "github_hmac": {"x-hub-signature-256": hex_hmac("", BODY)},
        "standard_webhooks": {**standard_headers(), "webhook-signature": f"v1,{b64encode(signed).decode()}"},
    }

    assert is_refused(mode, attempts[mode], known_secrets=(empty,))


def as_svix(headers):
    return {name.replace("webhook-", "svix-"): value for name, value in headers.items()}


def test_the_headers_of_svix_are_those_of_standard_webhooks_by_another_name():
    svix = as_svix(standard_headers())

    assert proof("standard_webhooks", svix) == Proof(message_id="msg_1")
    assert proof("standard_webhooks", svix | standard_headers(message_id="msg_2")) == Proof(message_id="msg_2")
    stray = webhook_request(svix | {"webhook-timestamp": "soon"})
    assert verification.fault_of_headers("standard_webhooks", stray, WINDOW_S, NOON) is None
    assert proof("standard_webhooks", dict(stray.headers)) == Proof(message_id="msg_1")
    for name in svix:
        assert is_refused("standard_webhooks", {other: value for other, value in svix.items() if other != name})
    assert is_refused("standard_webhooks", svix | {"webhook-id": "msg_1"})
    assert is_refused("standard_webhooks", svix | {"svix-id": "msg_2"})


# --- who is not known


@pytest.mark.parametrize("attempt", REFUSED, ids=[f"{attempt.mode}: {attempt.why}" for attempt in REFUSED])
def test_what_proves_nothing_is_refused(attempt):
    for known_secrets in (SECRET,), (SECRET, "d1" * 24):
        with pytest.raises(Unauthenticated) as refusal:
            verify(
                attempt.mode,
                WebhookRequest(headers=attempt.headers, body=attempt.body),
                secrets(*known_secrets),
                WINDOW_S,
                NOON,
            )
        assert (refusal.value.message, refusal.value.details) == ("Unauthorized", None)
        assert refusal.value.__cause__ is refusal.value.__context__ is None


def test_the_corpus_is_as_large_as_it_says_and_has_nothing_genuine():
    modes = Counter(attempt.mode for attempt in REFUSED)

    assert modes.keys() == set(READ)
    assert min(modes.values()) >= 50
    assert len({(attempt.mode, attempt.why) for attempt in REFUSED}) == len(REFUSED) >= 380
    genuine = [(webhook_request(headers), mode) for mode, headers in GENUINE.items()]
    assert not any((WebhookRequest(headers=one.headers, body=one.body), one.mode) in genuine for one in REFUSED)


ANYTHING = (
    st.binary(max_size=80).map(lambda octets: octets.decode("latin-1"))
    | st.text(max_size=80)
    | st.builds(str.__add__, st.sampled_from(["", "Bearer ", "sha256=", "v1,"]), st.binary(max_size=32).map(bytes.hex))
    | st.builds("{}{}".format, st.integers(NOON_S - 400, NOON_S + 400), st.sampled_from(["", ".5", "000", ".", "é"]))
    | st.sampled_from([SENT, f"{SENT}.0", "msg_1", "v1,", "sha256=", "", "\0"])
)


@settings(max_examples=examples(suite=150, campaign=500))
@for_all(
    st.sampled_from([*READ]),
    st.lists(st.tuples(st.sampled_from(NAMES), ANYTHING), max_size=9).map(tuple),
    st.binary(max_size=200),
    st.lists(st.binary(max_size=60).map(Secret), max_size=2),
)
def test_whatever_is_sent_nothing_worse_than_unknown_comes_of_it(mode, headers, body, known_secrets):
    with pytest.raises(Unauthenticated):
        verify(mode, WebhookRequest(headers=headers, body=body), [*known_secrets, *secrets(SECRET)], WINDOW_S, NOON)


@pytest.mark.parametrize("mode", ["hmac_sha256", "github_hmac", "standard_webhooks"])
def test_a_wrong_signature_is_as_much_work_as_a_right_one(mode, monkeypatch):
    """Every secret is tried, and every comparison is the constant-time one, whichever character is wrong."""
    compared = []
    monkeypatch.setattr(
        verification, "compare_digest", lambda *pair: compared.append(pair) or hmac.compare_digest(*pair)
    )
    name = next(name for name in GENUINE[mode] if "signature" in name)
    right = GENUINE[mode][name]
    work = set()
    for signature in (right, right[:-9] + "0" * 9, right[:8] + "0" + right[9:]):
        compared.clear()
        try:
            proof(mode, {**GENUINE[mode], name: signature}, known_secrets=(SECRET, OTHER_SECRET))
        except Unauthenticated:
            assert signature != right
        work.add(len(compared))

    assert work == {2}


def test_a_delivery_shows_nothing_of_its_headers():
    request = webhook_request(GENUINE["bearer"])

    assert not any(SECRET in text for text in (repr(request), str(request), f"{request}", pretty_repr(request)))
    assert repr(request) == f"WebhookRequest({len(BODY)} bytes)"


# --- headers


@pytest.mark.parametrize("mode", [*READ])
def test_blanks_around_a_header_are_not_part_of_it(mode):
    padded = {name: f" \t {value}\t " for name, value in GENUINE[mode].items()}

    assert proof(mode, padded) == proof(mode, GENUINE[mode])


@pytest.mark.parametrize("mode", [*READ])
def test_headers_of_other_purposes_may_be_anything(mode):
    others = tuple(2 * [("x-forwarded-for", "é"), ("content-type", "text/plain; charset=é")])
    answer = webhook_request(GENUINE[mode])

    assert verify(mode, replace(answer, headers=answer.headers + others), secrets(SECRET), WINDOW_S, NOON) == proof(
        mode, GENUINE[mode]
    )


def test_a_header_is_read_if_it_is_there_once():
    request = WebhookRequest(headers=(("a", " 1 "), ("b", "2"), ("b", "2"), ("c", "é")), body=b"")

    assert (request.header("a"), request.header("d")) == ("1", None)
    for name in "bc":
        with pytest.raises(Unauthenticated):
            request.header(name)


@pytest.mark.parametrize("mode", ["hmac_sha256", "github_hmac"])
@pytest.mark.parametrize("name", ["x-paperclip-signature", "x-hub-signature-256"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_either_header_may_carry_the_signature_with_or_without_its_prefix(mode, name, prefix):
    text = SENT.encode() + b"." + BODY if mode == "hmac_sha256" else BODY
    headers = {name: prefix + hex_hmac(SECRET, text)}

    assert proof(mode, {**headers, "x-paperclip-timestamp": SENT}) == proof(mode, {**GENUINE[mode]})


def test_of_two_signatures_the_one_that_belongs_to_the_mode_counts():
    relayed = {**GENUINE["github_hmac"], **GENUINE["hmac_sha256"]}
    crossed = {
        "x-paperclip-signature": GENUINE["github_hmac"]["x-hub-signature-256"],
        "x-hub-signature-256": GENUINE["hmac_sha256"]["x-paperclip-signature"],
        "x-paperclip-timestamp": SENT,
    }

    assert proof("hmac_sha256", relayed).stamp is not None
    assert proof("github_hmac", relayed).stamp is None
    assert is_refused("hmac_sha256", crossed)
    assert proof("github_hmac", crossed).stamp is not None


# --- the window


@pytest.mark.parametrize("window_s", [30, 300, 86_400])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_window_ends_at_its_last_instant_on_both_sides(window_s, sign):
    edge = NOON_S + sign * window_s
    within = {str(edge), f"{edge}.0", f"{edge}000", f"{edge - sign}.5", f"{edge - sign}999.9"}
    beyond = {str(edge + sign), f"{edge + sign}000", f"{edge * 1000 + sign}"}
    beyond |= (
        {f"{edge}.0000000000000001", f"{edge}000.0000000000000001"} if sign > 0 else {f"{edge - 1}.9999999999999999"}
    )

    assert all(proof("hmac_sha256", stamped_headers(sent_at), window_s=window_s).stamp for sent_at in within)
    assert all(is_refused("hmac_sha256", stamped_headers(sent_at), window_s=window_s) for sent_at in beyond)
    assert proof("standard_webhooks", standard_headers(sent_at=str(edge)), window_s=window_s)
    assert is_refused("standard_webhooks", standard_headers(sent_at=str(edge + sign)), window_s=window_s)


@pytest.mark.parametrize(
    "sent_at", [SENT, f"{SENT}.83", f"{SENT}000", f"{SENT}123.456789", f"000{SENT}", f"{SENT}.{'0' * 16}"]
)
def test_a_timestamp_is_seconds_or_milliseconds_with_or_without_a_fraction(sent_at):
    assert (
        proof("hmac_sha256", stamped_headers(sent_at)).stamp
        == f"{sent_at}:{stamped_headers(sent_at)['x-paperclip-signature']}"
    )


@pytest.mark.parametrize("sent_at", [f"0000{SENT}", f"{SENT}.{'0' * 17}"])
def test_a_timestamp_has_up_to_13_digits_and_16_of_a_fraction(sent_at):
    assert is_refused("hmac_sha256", stamped_headers(sent_at))


def test_up_to_a_million_million_it_is_seconds():
    september_2001 = datetime.fromtimestamp(10**9, UTC)

    assert is_refused("hmac_sha256", stamped_headers("1000000000000"), now=september_2001)
    assert proof("hmac_sha256", stamped_headers("1000000000001"), now=september_2001)


# --- what tells a replay


@for_all(
    st.binary(max_size=40),
    st.sampled_from([SENT, f"{SENT}.5", f"{SENT}000"]),
    st.from_regex(rb"[0-9]{1,12}\.", fullmatch=True),
)
def test_a_signature_has_one_stamp_however_its_text_is_divided(body, sent_at, fraction):
    """Else what is signed as 1.5 and {} counted once more as 1 and 5.{}."""
    text = sent_at.encode() + b"." + fraction + body
    stamps = set()
    for dot in (match.start() for match in re.finditer(rb"\.", text)):
        headers = {
            "x-paperclip-signature": hex_hmac(SECRET, text),
            "x-paperclip-timestamp": text[:dot].decode("latin-1"),
        }
        try:
            stamps.add(proof("hmac_sha256", headers, text[dot + 1 :]).stamp)
        except Unauthenticated:
            assert dot != len(sent_at)

    assert len(stamps) == 1


def test_a_stamped_delivery_keeps_its_stamp_when_its_timestamp_is_moved_into_the_body():
    headers = stamped_headers()
    moved = {"x-hub-signature-256": headers["x-paperclip-signature"]}

    assert proof("github_hmac", moved, SENT.encode() + b"." + BODY) == proof("github_hmac", headers)
    assert proof("github_hmac", headers).stamp == f"{SENT}:{headers['x-paperclip-signature']}"


@pytest.mark.parametrize("body", [b"", b"1.5", b'{"at": 1795348800.5}', b"1795348800", b"x1795348800.{}"])
def test_a_body_that_does_not_begin_with_a_timestamp_has_no_stamp(body):
    assert proof("github_hmac", {"x-hub-signature-256": hex_hmac(SECRET, body)}, body) == Proof()


@pytest.mark.parametrize("sent_at", [str(NOON_S - 86_401), "", "NaN", "1e9", str(NOON_S * 10**6)])
def test_github_hmac_takes_the_body_alone_whatever_the_timestamp(sent_at):
    assert proof("github_hmac", {**GENUINE["github_hmac"], "x-paperclip-timestamp": sent_at}) == Proof()


# --- Standard Webhooks


def test_the_example_of_standard_webhooks_own_tests_verifies():
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    then = datetime.fromtimestamp(1614265330, UTC)
    key = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    for secret in key, f"whsec_{key}":
        assert proof("standard_webhooks", headers, b'{"test": 2432232314}', known_secrets=(secret,), now=then) == Proof(
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek"
        )


def test_one_right_signature_of_the_list_is_enough():
    right = standard_headers()["webhook-signature"]
    wrong = standard_headers(secret=OTHER_SECRET)["webhook-signature"]

    for listed in f"{wrong} {right}", f"{right} {wrong}", f"v1a,c2lnbmVk {right} v2,{wrong[3:]}":
        assert proof("standard_webhooks", {**standard_headers(), "webhook-signature": listed}) == Proof(
            message_id="msg_1"
        )


@pytest.mark.parametrize("secret", ["whsec_YQ==", "whsec_YQ", "YWE", "YWE=", "YWFh"])
def test_the_padding_of_a_secret_does_not_matter(secret):
    headers = {**standard_headers(), "webhook-signature": Webhook(secret).sign("msg_1", NOON, BODY.decode())}

    assert proof("standard_webhooks", headers, known_secrets=(secret,))


@pytest.mark.parametrize("secret", ["a", "zoë", "YQ==YWFh", "whsec_a"])
def test_a_secret_that_is_not_base64_signs_nothing(secret):
    assert is_refused("standard_webhooks", standard_headers(), known_secrets=(secret,))


@pytest.mark.parametrize("secret", ["YWFh\n", "YWFh YWFh", "whsec_YW.Fh", "whsec_whsec_YWFhYWF"])
def test_a_secret_that_is_base64_only_in_part_is_not_made_do(secret):
    headers = {**standard_headers(), "webhook-signature": Webhook(secret).sign("msg_1", NOON, BODY.decode())}

    assert is_refused("standard_webhooks", headers, known_secrets=(secret,))


def test_a_message_id_has_up_to_255_characters():
    assert proof("standard_webhooks", standard_headers(255 * "a")) == Proof(message_id=255 * "a")
    assert is_refused("standard_webhooks", standard_headers(256 * "a"))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
MINTED = st.sampled_from(MINTED_FOR).map(verification.mint)


@for_all(TEXTS, MINTED, st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True), st.integers(-WINDOW_S, WINDOW_S))
def test_what_the_library_signs_is_genuine_and_nothing_else_is(text, secret, message_id, late_s):
    sent_at = NOON + timedelta(seconds=late_s)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, sent_at, text),
    }
    body = text.encode()
    signature = headers["webhook-signature"]

    assert proof("standard_webhooks", headers, body, known_secrets=(secret,)) == Proof(message_id=message_id)
    assert is_refused("standard_webhooks", headers, body + b"\n", known_secrets=(secret,))
    assert is_refused("standard_webhooks", headers, body, known_secrets=(verification.mint("standard_webhooks"),))
    for changed in (
        {"webhook-id": f"{message_id}0"},
        {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)},
        {"webhook-signature": f"v1,{signature[3:].swapcase()}"},
        {"webhook-signature": f"v1,{'B' if signature[3] == 'A' else 'A'}{signature[4:]}"},
    ):
        assert is_refused("standard_webhooks", headers | changed, body, known_secrets=(secret,))


@for_all(TEXTS, MINTED)
def test_the_library_takes_what_we_take(text, secret):
    now = datetime.now(UTC)  # the library has no other clock
    sent_at = str(int(now.timestamp()))
    key = b64decode(secret.removeprefix("whsec_"))
    signed = b64encode(hmac.digest(key, f"msg_1.{sent_at}.{text}".encode(), "sha256")).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": sent_at, "webhook-signature": f"v1,{signed}"}

    assert proof("standard_webhooks", headers, text.encode(), known_secrets=(secret,), now=now) == Proof(
        message_id="msg_1"
    )
    Webhook(secret).verify(text, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(f"{text}\n", headers, json_parse=False)


# --- what others send


def test_the_example_of_githubs_documentation_verifies():
    headers = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}

    assert proof("github_hmac", headers, b"Hello, World!", known_secrets=("It's a Secret to Everybody",)) == Proof()


def test_a_push_that_github_delivers_verifies():
    """The signatures are OpenSSL's."""
    body = (VECTORS / "github_push.json").read_bytes()
    secret = "9c41d7a06be25f3810ad94c7e6b30f5d2a81c4976fe0b35d"
    headers = {
        "host": "routines.example",
        "user-agent": "GitHub-Hookshot/6d14a2e",
        "content-length": str(len(body)),
        "accept": "*/*",
        "content-type": "application/json",
        "x-github-delivery": "0f9d1c80-c79e-11f1-8e5b-3c2a7d9b4e10",
        "x-github-event": "push",
        "x-github-hook-id": "512094417",
        "x-github-hook-installation-target-id": "718204113",
        "x-github-hook-installation-target-type": "repository",
        "x-hub-signature": "sha1=9efcd0a71166f16716f2df1af5118f935c5bf02d",
        "x-hub-signature-256": "sha256=27bcaa3826c885a0e455d109722256fca8e8876c0c6353ba218c573fec9636fe",
    }

    assert proof("github_hmac", headers, body, known_secrets=(secret,)) == Proof()
    assert is_refused("github_hmac", headers, body + b"\n", known_secrets=(secret,))
    assert is_refused("hmac_sha256", headers, body, known_secrets=(secret,))


def test_what_stripe_signs_is_the_timestamped_mode():
    """t and v1 of its header are our two headers; the signature is OpenSSL's."""
    body = (VECTORS / "stripe_event.json").read_bytes()
    secret = "3f8ac2b7d90e164573bb0c5e28f1a96d4e70d2cb8519f63a"
    stripe = "t=1795348800,v1=090054a548e2b78ddd05eedd6652001565603002c0f34852549bb3720953a594"
    parts = dict(part.split("=") for part in stripe.split(","))
    headers = {"x-paperclip-timestamp": parts["t"], "x-paperclip-signature": parts["v1"]}

    assert proof("hmac_sha256", headers, body, known_secrets=(secret,)) == Proof(stamp=f"{parts['t']}:{parts['v1']}")
    assert is_refused("hmac_sha256", headers, body.replace(b"4150", b"4151"), known_secrets=(secret,))


# --- what is handed out


def test_a_secret_is_forty_eight_hex_characters_or_what_standard_webhooks_asks_for():
    for mode in MODES:
        pattern = r"whsec_[A-Za-z0-9+/]{43}=" if mode == "standard_webhooks" else r"[0-9a-f]{48}"
        minted = {verification.mint(mode) for _ in range(200)}

        assert len(minted) == 200
        assert all(re.fullmatch(pattern, secret) for secret in minted)


def test_a_public_id_is_twenty_four_hex_characters():
    minted = {verification.mint_public_id() for _ in range(200)}

    assert len(minted) == 200
    assert all(re.fullmatch(r"[0-9a-f]{24}", public_id) for public_id in minted)


@pytest.mark.parametrize(
    ("mode", "headers", "why"),
    [
        ("bearer", {}, "authorization is missing"),
        ("bearer", {"authorization": "Bearer x"}, "authorization is not `Bearer` and the secret of this webhook"),
        ("bearer", {"authorization": "Bearer \u00e9"}, "authorization is given twice or is not ASCII"),
        ("hmac_sha256", {}, "x-paperclip-signature or x-hub-signature-256 is missing"),
        ("hmac_sha256", {"x-hub-signature-256": "x"}, "x-paperclip-timestamp is missing"),
        ("hmac_sha256", stamped_headers(sent_at="soon"), "x-paperclip-timestamp is no time in seconds"),
        (
            "hmac_sha256",
            stamped_headers(sent_at=str(NOON_S - 301)),
            "x-paperclip-timestamp differs from now by more than 300",
        ),
        (
            "hmac_sha256",
            stamped_headers(secret=OTHER_SECRET),
            "the signature is not the HMAC-SHA256 of `<timestamp>.<body>`",
        ),
        ("github_hmac", {"x-hub-signature-256": "sha256="}, "the signature is not the HMAC-SHA256 of the body"),
        ("standard_webhooks", {}, "webhook-id or svix-id is missing"),
        (
            "standard_webhooks",
            standard_headers(sent_at=str(NOON_S + 301)),
            "webhook-timestamp differs from now by more than 300",
        ),
        ("standard_webhooks", standard_headers(sent_at=f"{SENT}000"), "webhook-timestamp is no time in seconds"),
        (
            "standard_webhooks",
            as_svix(standard_headers(sent_at=str(NOON_S + 301))),
            "svix-timestamp differs from now by more than 300",
        ),
        (
            "standard_webhooks",
            standard_headers(secret=OTHER_SECRET),
            "no signature is that of `<id>.<timestamp>.<body>`",
        ),
    ],
)
def test_those_who_may_know_are_told_what_is_wrong_with_a_call(mode, headers, why):
    assert is_refused(mode, headers)
    assert verification.why_unproven(mode, webhook_request(headers), WINDOW_S, NOON).startswith(why)


@pytest.mark.parametrize("mode", [*READ])
def test_whatever_is_refused_there_is_a_reason_that_shows_no_secret(mode):
    for attempt in (one for one in REFUSED if one.mode == mode):
        request = WebhookRequest(headers=attempt.headers, body=attempt.body)
        why = verification.why_unproven(mode, request, WINDOW_S, NOON)
        assert why
        assert SECRET not in why
