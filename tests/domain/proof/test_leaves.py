"""Leaves: what the chain hashes, without the hash before; and whose trees an event is in."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.audit import log_reader
from application.audit.log_reader import Row
from audit_verifier import rows
from domain.proof.leaves import company_of, hash_body, leaf_of

COMPANY = "0b8f6c1e-7d24-4f0a-8a5e-91c3d2e4f506"
OTHER = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize("login", [None, "", "routines_service", "ç"])
def test_the_hash_of_a_row_is_that_of_the_hash_before_and_its_leaf(login: str | None):
    moment = datetime(2026, 11, 29, 1, 2, 3, 456789, tzinfo=UTC)
    row = Row(
        position=7,
        stream_id=uuid4(),
        version=2,
        name="run.fired",
        body=b"{}",
        recorded_at=moment,
        recorded_by=login,
        hash=b"",
    )
    us = (moment - log_reader.EPOCH) // log_reader.MICROSECOND
    leaf = leaf_of(row.position, row.stream_id.bytes, row.version, row.name, hash_body(row.body), us, login)

    assert log_reader.hash_of(b"before", row) == sha256(b"before" + leaf).digest()
    read = rows.read_leaf(leaf)
    assert (read.position, read.stream, read.version, read.name) == (7, row.stream_id, 2, "run.fired")
    assert (read.digest, read.recorded_us, read.login) == (sha256(b"{}").digest(), us, login)


@pytest.mark.parametrize(
    ("body", "company"),
    [
        (f'{{"at":"x","actor":"system","event":{{}},"company_id":"{COMPANY}"}}', COMPANY),
        (f'{{"at":"x","actor":"system","event":{{}},"company_id":"{COMPANY}","cause":"why"}}', COMPANY),
        (f'{{"at":"x","company_id":"{COMPANY}","event":{{}}}}', COMPANY),
        (f'{{"company_id":"{OTHER}","event":{{}},"company_id":"{COMPANY}"}}', COMPANY),
        (f'{{"event":{{}},"company_id":"{OTHER}","cause":"a \\" b","company_id":"{COMPANY}"}}', COMPANY),
        (f'{{"event":{{}},"company_id":"{OTHER}","company\\u005fid":"{COMPANY}"}}', COMPANY),
        (f'{{"event":{{"a":{{}},"company_id":"{OTHER}"}}}}', None),
        (f'{{"event":"{{}},\\"company_id\\":\\"{OTHER}\\""}}', None),
        ('{"event":{},"company_id":"nobody"}', None),
        (f'{{"event":{{}},"company_id":"{COMPANY.upper()}"}}', None),
        ('{"event":{},"company_id":7}', None),
        ("[]", None),
        ("", None),
        ("\xff", None),
        ("[" * 5_000, None),
    ],
)
def test_an_event_is_in_the_tree_of_the_company_that_its_body_names_last(body: str, company: str | None):
    for read in (company_of, rows.company_of):
        assert read(body.encode("latin-1")) == (None if company is None else UUID(company))


@given(
    st.dictionaries(
        st.sampled_from(["at", "actor", "event", "company_id", "cause"]),
        st.one_of(st.none(), st.text(max_size=5), st.just(COMPANY), st.just({}), st.just({"company_id": OTHER})),
    ),
    st.booleans(),
)
def test_the_verifier_finds_the_same_company_by_other_code(content: dict[str, object], is_compact: bool):
    body = json.dumps(content, separators=(",", ":") if is_compact else None).encode()

    assert rows.company_of(body) == company_of(body)
    company_id = content.get("company_id")
    assert company_of(body) == (UUID(COMPANY) if company_id == COMPANY else None)


@pytest.mark.parametrize("leaf", [b"", b"short", bytes(91)[:-1], bytes(95) + b"x"])
def test_a_damaged_leaf_is_refused(leaf: bytes):
    with pytest.raises(rows.Unreadable):
        rows.read_leaf(leaf)
