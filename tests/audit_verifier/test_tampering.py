"""What is done to a log is found at its position; a healthy one is never called bad."""

import random

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routines.bootstrap import System
from verification.tampering import databases, logs, mutations
from verification.tampering.__main__ import EVERY, is_found
from verification.tampering.logs import Log, random_log
from verification.tampering.mutations import WAYS, Tampered


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_each_way_of_tampering_is_found_at_its_position(way):
    missed = []
    for seed in range(15):
        chance = random.Random(seed)
        log = random_log(chance, chance.randrange(15, 40), old=chance.choice((0, 4)))
        tampered = way(chance, log)
        report = logs.verify(logs.export_log(tampered.log), logs.sign_checkpoints(log, EVERY))
        if not is_found(report, tampered):
            missed.append((seed, tampered.kind, tampered.position, report.findings))

    assert [] == missed


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        (mutations.change_column, "changed"),
        (mutations.change_with_own_hash, "changed"),
        (mutations.change_and_rehash, "rewritten"),
        (mutations.delete, "deleted"),
        (mutations.delete_and_renumber, "deleted"),
        (mutations.insert_twice, "inserted"),
        (mutations.insert_and_renumber, "inserted"),
        (mutations.swap_lines, "reordered"),
        (mutations.swap_positions, "reordered"),
        (mutations.cut_tail, "lost tail"),
        (mutations.cut_tail_and_head, "lost tail"),
        (mutations.change_head, "rewritten head"),
        (mutations.empty, "lost tail"),
    ],
)
def test_what_was_done_is_called_by_its_name(way, kind):
    log = random_log(random.Random(5), 40)
    for seed in range(10):
        tampered = way(random.Random(seed), log)
        if tampered.position < 30:  # of what happens at the end there is less to go by
            report = logs.verify(logs.export_log(tampered.log), logs.sign_checkpoints(log, EVERY))
            kinds = {one.kind for one in report.findings if one.first <= tampered.position <= one.last}
            assert kind in kinds, (seed, tampered.position, report.findings)


@given(st.integers(0, 2**32), st.integers(0, 70), st.integers(0, 80), st.integers(1, 30))
def test_a_healthy_log_of_any_shape_is_not_called_bad(seed: int, size: int, old: int, every: int):
    log = random_log(random.Random(seed), size, old=old)

    report = logs.verify(logs.export_log(log), logs.sign_checkpoints(log, every))

    assert report.findings == []
    assert (report.events, report.hash) == (size, log.head.hash)


def test_what_was_recorded_after_the_last_checkpoint_is_held_by_the_chain_alone():
    log = random_log(random.Random(1), 40)
    anchors = logs.sign_checkpoints(Log(log.rows[:30], log.head), EVERY)
    rows = list(log.rows)
    rows[34] = rows[35]

    assert logs.verify(logs.export_log(log), anchors).findings == []
    assert logs.verify(logs.export_log(Log(tuple(rows), log.head)), anchors).findings != []


def test_a_superusers_changes_are_found_in_the_database(system: System, admin_url: str):
    chance = random.Random(7)
    log = random_log(chance, 40)
    anchors = logs.sign_checkpoints(log, EVERY)
    missed = []
    with psycopg.connect(admin_url, autocommit=True) as conn:
        with databases.hold_log(conn, log):
            assert databases.verify(conn, anchors).findings == []
        for way in WAYS:
            tampered: Tampered = way(chance, log)
            if not tampered.file_only:
                with databases.hold_log(conn, tampered.log):
                    report = databases.verify(conn, anchors)
                if not is_found(report, tampered):
                    missed.append((tampered.kind, tampered.position, report.findings))

    assert [] == missed
