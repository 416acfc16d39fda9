"""What the worker masks: its own tokens, and the secrets that it hands to its command."""

import json

from hypothesis import given
from hypothesis import strategies as st

from routines.worker import output
from routines.worker.output import SecretMask
from routines.worker.tokens import Tokens

TEXTS = st.text("ab", min_size=2, max_size=6)


def mask_secrets(secrets, data, cuts=()):
    masking, end = SecretMask(secrets), 0
    result = b""
    for cut in [*sorted(cuts), len(data)]:
        result += masking.feed(data[end:cut])
        end = max(end, cut)
    return result + masking.rest()


@st.composite
def outputs(draw):
    """Secrets that overlap and contain each other, an output full of them, and where it is split."""
    secrets = draw(st.lists(TEXTS, min_size=1, max_size=3))
    pieces = draw(st.lists(st.one_of(st.sampled_from(secrets), st.text("abc\n\r\0", max_size=5)), max_size=20))
    data = "".join(pieces).encode()
    return secrets, data, draw(st.lists(st.integers(0, len(data)), max_size=20)), draw(st.integers(0, 10))


@given(outputs())
def test_a_secret_is_masked_wherever_the_output_is_split(case):
    secrets, data, cuts, longest = case
    masked_output = mask_secrets(secrets, data)
    usual, output.LONGEST_PIECE = output.LONGEST_PIECE, longest
    try:
        assert masked_output == mask_secrets(secrets, data, cuts)
    finally:
        output.LONGEST_PIECE = usual

    lines = data.replace(b"\0", b"").splitlines(keepends=True)
    assert not any(secret.encode() in masked_output for secret in secrets)
    unmasked_lines = [line for line in lines if not any(secret.encode() in line for secret in secrets)]
    assert unmasked_lines == [line for line in masked_output.splitlines(keepends=True) if b"***" not in line]
    for line, masked_line in zip(lines, masked_output.splitlines(keepends=True), strict=True):
        assert all(part in line for part in masked_line.split(b"***"))


def test_where_secrets_overlap_nothing_of_either_is_left():
    assert b"<***>" == mask_secrets(["abcdefgh", "efghijkl"], b"<abcdefghijkl>")
    assert b"<******>" == mask_secrets(["abcdefgh"], b"<abcdefghabcdefgh>")


def test_texts_of_what_a_command_is_handed_are_masked_line_by_line_and_as_json_shows_them():
    handed = {"KEY": "-----BEGIN-----\n  MIIEvQIBADAN\nshort\n", "QUOTED": 'say "ouvré" now', "PORT": "5432"}
    secrets = Tokens("pcp_own_token", {}).secrets_with(handed, {"deep": [{"er": "sk-1234567"}], "number": 12345678})

    def masked_line(text):
        return mask_secrets(secrets, text.encode()).decode()

    assert "pcp_own_token" in secrets
    assert "***\n  ***\nshort" == masked_line("-----BEGIN-----\n  MIIEvQIBADAN\nshort")
    assert ['"***"'] * 3 == [masked_line(json.dumps(text)) for text in (handed["KEY"], handed["QUOTED"], "sk-1234567")]
    assert '"***"' == masked_line(json.dumps(handed["QUOTED"], ensure_ascii=False))
    assert "5432 12345678" == masked_line("5432 12345678")
