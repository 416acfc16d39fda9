"""Secrets of webhooks: shown once, dead when rotated, fit for the signing mode, of no use without a key (contract 4)."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from structlog.testing import capture_logs

from application.use_cases.triggers import NewSecret, TriggerResult
from routines import bootstrap
from tests.api import Api
from tests.web.hooks import Hook, hook, known_hook
from tests.web.served import serve_further
from web.paperclip.triggers import TriggerSecret, secret_material

MODES = ["bearer", "hmac_sha256", "github_hmac", "none", "standard_webhooks"]
SIGNING = ["hmac_sha256", "github_hmac", "standard_webhooks"]
FORMS = dict.fromkeys(MODES, r"[0-9a-f]{48}") | {"standard_webhooks": r"whsec_[A-Za-z0-9+/]{43}="}
CLOSED = (503, "The secrets cannot be opened now: the operator has to put the key file right")
NOT_FOUND = (404, "Routine trigger not found")


@pytest.fixture
def routine(api: Api) -> str:
    company = api.company()
    return api.routine(company, api.agent(company)[0], concurrencyPolicy="always_enqueue")


@pytest.fixture(scope="module")
def minute_later(api: Api) -> Iterator[Api]:
    with serve_further(api, clock=lambda: api.system.clock() + timedelta(seconds=61)) as later:
        yield later


@pytest.fixture(scope="module")
def locked(api: Api) -> Iterator[Api]:
    """A process without the key."""
    with serve_further(api, key_file=None) as keyless:
        yield keyless


def status_and_error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def rotate(api: Api, sender: Hook, body: Any = ...) -> Hook:
    """The same webhook, for somebody who knows its new secret."""
    answer = api.post(f"/routine-triggers/{sender.trigger}/rotate-secret", body)
    return sender.knowing(answer["secretMaterial"]["webhookSecret"])


def turn(api: Api, sender: Hook, mode: str) -> Hook:
    """The same webhook with another signing mode, and its new secret if it got one."""
    edited = api.patch(f"/routine-triggers/{sender.trigger}", {"signingMode": mode})
    material = edited.get("secretMaterial", {"webhookSecret": sender.secret})
    return known_hook(api, edited, material["webhookSecret"])


def statuses(*senders: Hook) -> list[int]:
    return [sender.call(b"{}").status_code for sender in senders]


def count_secrets(api: Api, sender: Hook) -> int:
    """How many secrets of the webhook the vault keeps."""
    with api.system.pool.connection() as conn:
        row = conn.execute("SELECT count(*) FROM vault.secrets WHERE owner_id = %s", (sender.trigger,)).fetchone()
    return int(row[0]) if row else 0


# Shown once


def test_every_secret_is_shown_once_and_found_nowhere_else(api: Api, routine: str):
    """Contract 4: by create, rotate, restore, and by an edit that had to make one."""
    senders = [hook(api, routine, mode) for mode in MODES if mode != "none"]
    rotated = [rotate(api, sender, {"overlapSec": 60}) for sender in senders]
    turned = turn(api, rotated[0], "hmac_sha256")
    revision = api.get(f"/routines/{routine}")["latestRevisionId"]
    api.request("DELETE", f"/routine-triggers/{turned.trigger}")
    (restored,) = api.post(f"/routines/{routine}/revisions/{revision}/restore")["secretMaterials"]
    secrets = [sender.secret for sender in (*senders, *rotated, turned)] + [restored["webhookSecret"]]
    turned.call()
    rotated[1].fire(b"{}")

    shown = [
        api.request("GET", path).text
        for path in (
            f"/routines/{routine}",
            f"/routines/{routine}/revisions",
            f"/routines/{routine}/runs",
            f"/companies/{api.get(f'/routines/{routine}')['companyId']}/routines",
            "/openapi.json",
        )
    ]
    shown += [api.request("PATCH", f"/routine-triggers/{rotated[1].trigger}", {"label": "x"}).text]
    shown += all_stored_texts(api)

    assert 10 == len(set(secrets))
    assert all(any(sender.public_id in text for text in shown) for sender in senders)  # what is there is found
    assert not [secret for secret in secrets for text in shown if secret in text]
    assert not [word for word in ("webhookSecret", "secretMaterial") for text in shown[:4] if word in text]


def test_a_secret_that_was_just_made_is_not_in_what_a_traceback_or_a_log_would_print():
    minted = NewSecret(trigger_id=uuid4(), public_id="ab" * 12, secret="hush-hush")
    shown = secret_material(minted, "https://routines.example")
    restored = TriggerSecret(trigger_id=uuid4(), webhook_url=shown.webhook_url, webhook_secret=shown.webhook_secret)

    for holder in (
        minted,
        TriggerResult(trigger_id=uuid4(), history=(), new_secret=minted),
        shown,
        restored,
    ):
        assert "hush-hush" not in f"{holder!r} {holder!s}"


def all_stored_texts(api: Api) -> list[str]:
    """All that the database has: the log, the read models, the vault."""
    with api.system.pool.connection() as conn:
        tables = conn.execute(
            """SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
            WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"""
        ).fetchall()
        log = conn.execute("SELECT convert_from(body, 'UTF8') FROM log.events").fetchall()
        vault = conn.execute("SELECT encode(content, 'escape') FROM vault.secrets").fetchall()
        rest = [
            row for (table,) in tables for row in conn.execute(f"SELECT row_to_json(t)::text FROM {table} t").fetchall()
        ]
    return [text for (text,) in (*log, *vault, *rest)]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "none"])
def test_a_secret_has_the_form_that_its_mode_asks_for(api: Api, routine: str, mode: str):
    sender = hook(api, routine, mode)

    assert re.fullmatch(FORMS[mode], sender.secret)
    assert re.fullmatch(FORMS[mode], rotate(api, sender).secret)


# Rotation


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "none"])
def test_with_its_rotation_the_old_secret_is_dead_at_once_in_every_process(
    api: Api, other_process: Api, routine: str, mode: str
):
    old = hook(api, routine, mode)

    before = statuses(old, old.at(other_process.url))
    new = rotate(api, old)
    after = statuses(old, old.at(other_process.url), new, new.at(other_process.url))

    assert [202, 202] == before
    assert [401, 401, 202, 202] == after
    assert 1 == count_secrets(api, old)


def test_a_dead_secret_is_not_even_told_of_the_runs_that_it_fired(api: Api, other_process: Api, routine: str):
    """Nothing would be recorded by these calls: what another process knows from before does not count."""
    shown, signed = hook(api, routine), hook(api, routine, "hmac_sha256")
    headers, named = signed.signed(b"{}"), {"Idempotency-Key": "k"}

    there = [sender.at(other_process.url) for sender in (shown, signed)]
    before = [there[0].call(b"", named), there[1].send(b"{}", headers)]
    for sender in (shown, signed):
        rotate(api, sender)
    after = [there[0].call(b"", named), there[1].send(b"{}", headers)]

    assert [202, 202] == [answer.status_code for answer in before]
    assert [401, 401] == [answer.status_code for answer in after]


def test_what_another_process_disabled_or_deleted_fires_no_more(api: Api, other_process: Api, routine: str):
    sender, named = hook(api, routine).at(other_process.url), {"Idempotency-Key": "k"}

    answers = [sender.call(b"", named).status_code]
    api.patch(f"/routine-triggers/{sender.trigger}", {"enabled": False})
    answers.append(sender.call(b"", named).status_code)
    api.request("DELETE", f"/routine-triggers/{sender.trigger}")
    answers.append(sender.call(b"", named).status_code)

    assert [202, 409, 404] == answers


def test_a_rotation_keeps_the_address_and_is_a_revision(api: Api, routine: str):
    sender = hook(api, routine)
    (before,) = api.get(f"/routines/{routine}")["triggers"]

    answer = api.request("POST", f"/routine-triggers/{sender.trigger}/rotate-secret")

    rotated = answer.json()
    assert 200 == answer.status_code
    assert {"trigger", "secretMaterial", "revision"} == rotated.keys()
    assert {"secretId", "lastRotatedAt", "updatedAt"} == {
        name for name in before if before[name] != rotated["trigger"][name]
    }
    assert rotated["trigger"]["lastRotatedAt"] == rotated["trigger"]["updatedAt"] > before["lastRotatedAt"]
    assert rotated["secretMaterial"]["webhookUrl"].endswith(f"/public/{sender.public_id}/fire")
    assert sender.secret != rotated["secretMaterial"]["webhookSecret"]
    assert (3, "Rotated webhook trigger secret") == (
        rotated["revision"]["revisionNumber"],
        rotated["revision"]["changeSummary"],
    )
    assert [rotated["trigger"]] == api.get(f"/routines/{routine}")["triggers"]


@pytest.mark.parametrize("mode", ["bearer", "hmac_sha256", "github_hmac", "standard_webhooks"])
def test_for_the_time_that_a_rotation_gives_it_the_old_secret_counts_beside_the_new(
    api: Api, minute_later: Api, routine: str, mode: str
):
    old = hook(api, routine, mode)
    new = rotate(api, old, {"overlapSec": 60})
    meanwhile = statuses(old, new)

    old_then, new_then = (
        sender.at(minute_later.url).send(b"{}", sender.signed(b"{}", at=time.time() + 61)) for sender in (old, new)
    )

    assert [202, 202] == meanwhile
    assert [401, 202] == [old_then.status_code, new_then.status_code]


def test_only_the_newest_old_secret_is_given_time(api: Api, routine: str):
    first = hook(api, routine)
    second = rotate(api, first, {"overlapSec": 60})
    third = rotate(api, second, {"overlapSec": 60})
    overlapping = statuses(first, second, third)
    fourth = rotate(api, third, {"overlapSec": 0})

    assert [401, 202, 202] == overlapping
    assert [401, 401, 401, 202] == statuses(first, second, third, fourth)


def test_the_vault_keeps_no_secret_that_opens_nothing(api: Api, minute_later: Api, routine: str):
    sender = hook(api, routine, "hmac_sha256")
    steps = [count_secrets(api, sender)]

    rotate(api, sender, {"overlapSec": 60})
    steps.append(count_secrets(api, sender))
    rotate(api, sender, {"overlapSec": 60})
    steps.append(count_secrets(api, sender))
    rotate(minute_later, sender)
    steps.append(count_secrets(api, sender))
    turn(api, sender, "bearer")
    steps.append(count_secrets(api, sender))
    rotate(api, sender, {"overlapSec": 60})
    api.request("DELETE", f"/routine-triggers/{sender.trigger}")
    steps.append(count_secrets(api, sender))

    assert [1, 2, 2, 1, 1, 0] == steps


@pytest.mark.parametrize(
    "body", [{"overlapSec": -1}, {"overlapSec": 86_401}, {"overlapSec": 1.5}, {"overlapSec": None}]
)
def test_an_overlap_is_whole_seconds_of_a_day_at_most(api: Api, routine: str, body: Any):
    sender = hook(api, routine)

    answer = api.request("POST", f"/routine-triggers/{sender.trigger}/rotate-secret", body)

    assert 400 == answer.status_code
    assert [["overlapSec"]] == [issue["path"] for issue in answer.json()["details"]]
    assert 202 == sender.call().status_code


def test_nobody_chooses_the_secret_of_a_rotation(api: Api, routine: str):
    old = hook(api, routine)

    answer = api.request("POST", f"/routine-triggers/{old.trigger}/rotate-secret", {"secret": "mine"})

    assert (400, "Unknown field 'secret'") == status_and_error(answer)
    assert 202 == old.call().status_code


@pytest.mark.parametrize("draft", [{"kind": "api"}, {"kind": "schedule", "cronExpression": "0 9 * * *"}])
def test_only_webhooks_have_a_secret_to_rotate(api: Api, routine: str, draft: Any):
    trigger = api.post(f"/routines/{routine}/triggers", draft)

    refusal = api.request("POST", f"/routine-triggers/{trigger['trigger']['id']}/rotate-secret")

    assert trigger["secretMaterial"] is None
    assert (422, "Only webhook triggers can rotate secrets") == status_and_error(refusal)
    assert 2 == api.get(f"/routines/{routine}")["latestRevisionNumber"]


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense", "deleted"])
def test_the_secret_of_an_unknown_trigger_cannot_be_rotated(api: Api, routine: str, id_: str):
    if id_ == "deleted":
        id_ = hook(api, routine).trigger
        api.request("DELETE", f"/routine-triggers/{id_}")

    assert NOT_FOUND == status_and_error(api.request("POST", f"/routine-triggers/{id_}/rotate-secret"))


def test_a_secret_that_is_rotated_by_many_at_once_is_the_last_ones(api: Api, routine: str):
    sender = hook(api, routine)

    with ThreadPoolExecutor(8) as threads:
        rotated = list(threads.map(lambda _: api.post(f"/routine-triggers/{sender.trigger}/rotate-secret"), range(8)))

    senders = {
        answer["revision"]["revisionNumber"]: sender.knowing(answer["secretMaterial"]["webhookSecret"])
        for answer in rotated
    }
    assert set(range(3, 11)) == senders.keys()
    assert [401] * 7 + [202] == statuses(*(senders[number] for number in sorted(senders)))
    assert 1 == count_secrets(api, sender)


# Another signing mode


@pytest.mark.parametrize("mode", SIGNING)
@pytest.mark.parametrize("through", [[], ["none"]])
def test_a_bearer_secret_cannot_sign_so_a_mode_that_signs_gets_a_new_one(
    api: Api, routine: str, mode: str, through: list[str]
):
    """It is kept as a digest only."""
    old = hook(api, routine)
    for step in through:
        turn(api, old, step)

    new = turn(api, old, mode)

    assert re.fullmatch(FORMS[mode], new.secret)
    assert [401, 401, 202] == statuses(old, old.signing(mode) if mode != "standard_webhooks" else old, new)
    assert 1 == count_secrets(api, old)


def test_an_edit_that_had_to_make_a_secret_shows_it_beside_the_trigger(api: Api, routine: str):
    sender = hook(api, routine)
    (before,) = api.get(f"/routines/{routine}")["triggers"]

    edited = api.patch(f"/routine-triggers/{sender.trigger}", {"signingMode": "hmac_sha256", "label": "x"})

    material = edited.pop("secretMaterial")
    assert {"webhookUrl", "webhookSecret"} == material.keys()
    assert material["webhookUrl"].endswith(f"/public/{sender.public_id}/fire")
    assert {"signingMode", "label", "secretId", "lastRotatedAt", "updatedAt"} == {
        name for name in before if before[name] != edited[name]
    }
    assert [edited] == api.get(f"/routines/{routine}")["triggers"]


@pytest.mark.parametrize(
    "modes",
    [
        *(["hmac_sha256", "bearer"], ["github_hmac", "bearer"], ["standard_webhooks", "bearer"]),
        *(["hmac_sha256", "github_hmac"], ["github_hmac", "hmac_sha256"], ["hmac_sha256", "none", "hmac_sha256"]),
        *(["hmac_sha256", "standard_webhooks"], ["standard_webhooks", "github_hmac"], ["bearer", "none", "bearer"]),
        ["bearer", "bearer"],
    ],
    ids=" to ".join,
)
def test_any_other_change_of_the_mode_keeps_the_secret(api: Api, routine: str, modes: list[str]):
    first, *others = modes
    sender = hook(api, routine, first)

    for mode in others:
        edited = api.patch(f"/routine-triggers/{sender.trigger}", {"signingMode": mode})
        assert "secretMaterial" not in edited

    assert [202] == statuses(sender.signing(others[-1]))
    assert 1 == count_secrets(api, sender)


def test_a_webhook_without_signing_shows_no_secret_until_it_signs(api: Api, routine: str):
    """None that nobody asks for is made, kept or rotated."""
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "none"})
    sender, rotation = hook(api, routine, "none"), f"/routine-triggers/{trigger['trigger']['id']}/rotate-secret"

    turned = [turn(api, hook(api, routine, "none"), mode) for mode in SIGNING]
    bearer = turn(api, sender, "bearer")

    assert trigger["secretMaterial"]["webhookUrl"].endswith(f"/public/{trigger['trigger']['publicId']}/fire")
    assert None is trigger["secretMaterial"]["webhookSecret"] is sender.secret
    assert None is api.post(rotation)["secretMaterial"]["webhookSecret"]
    assert [202] * len(turned) == statuses(*turned)
    assert [202, 401, 401] == statuses(bearer, bearer.knowing("0" * 48), bearer.signing("none"))
    assert 1 == count_secrets(api, sender)


def test_once_the_mode_is_another_the_old_credential_is_none(api: Api, routine: str):
    sender = hook(api, routine, "hmac_sha256")
    signed = sender.signed(b"{}")

    turn(api, sender, "bearer")

    assert 401 == sender.send(b"{}", signed).status_code
    turn(api, sender, "none")
    assert 202 == sender.send(b"{}").status_code


def test_an_edit_of_anything_else_leaves_the_secret_alone(api: Api, routine: str):
    sender = hook(api, routine, "hmac_sha256")
    (before,) = api.get(f"/routines/{routine}")["triggers"]

    edited = api.patch(f"/routine-triggers/{sender.trigger}", {"replayWindowSec": 30, "enabled": True})

    assert (before["secretId"], before["publicId"], before["lastRotatedAt"]) == tuple(
        edited[name] for name in ("secretId", "publicId", "lastRotatedAt")
    )
    assert [202] == statuses(sender)


# Without a key


def create_trigger(api: Api, routine: str) -> Any:
    return api.request("POST", f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "hmac_sha256"})


def send_rotation(api: Api, sender: Hook) -> Any:
    return api.request("POST", f"/routine-triggers/{sender.trigger}/rotate-secret", {})


def send_mode_change(api: Api, sender: Hook) -> Any:
    return api.request("PATCH", f"/routine-triggers/{sender.trigger}", {"signingMode": "bearer"})


@pytest.mark.parametrize("change", [create_trigger, send_rotation, send_mode_change])
def test_without_the_key_a_secret_that_signs_is_neither_made_nor_changed(
    api: Api, locked: Api, routine: str, change: Callable[[Api, Any], Any]
):
    sender = hook(api, routine, "hmac_sha256")
    head = api.system.store.head()

    answer = change(locked, routine if change is create_trigger else sender)

    assert CLOSED == status_and_error(answer)
    assert "Retry-After" not in answer.headers  # it is in vain until the operator acts
    assert (head, 1) == (api.system.store.head(), count_secrets(api, sender))
    assert [202] == statuses(sender)


def test_without_the_key_a_genuine_signature_is_not_called_a_wrong_one(api: Api, locked: Api, routine: str):
    sender, shown, bare = (hook(api, routine, mode).at(locked.url) for mode in ("hmac_sha256", "bearer", "none"))

    genuine, forged = sender.call(), sender.knowing("no").call()
    others = statuses(shown, shown.knowing("no"), bare)
    fresh_works = statuses(hook(locked, routine))

    assert CLOSED == status_and_error(genuine) == status_and_error(forged)
    assert [202, 401, 202] == others  # what is only recognised, or not asked for, needs no key
    assert [202] == fresh_works


def test_what_is_recorded_is_answered_so_though_the_old_secret_cannot_be_dropped(
    api: Api, routine: str, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: Any) -> None:
        raise psycopg.errors.DiskFull

    sender = hook(api, routine, "hmac_sha256")
    with monkeypatch.context() as patch:
        patch.setattr(api.system.vault, "drop", refuse)
        renewed = rotate(api, sender)

    assert [401, 202] == statuses(sender, renewed)
    assert 2 == count_secrets(api, sender)


def test_health_names_the_keys_that_a_new_file_in_place_of_a_lost_one_does_not_have(
    api: Api, routine: str, tmp_path: Path
):
    hook(api, routine, "hmac_sha256")
    bootstrap.make_keys(str(tmp_path / "new.keys"))
    lost = api.system.vault.ring.ids()

    with serve_further(api, key_file=str(tmp_path / "new.keys")) as renewed, capture_logs() as lines:
        health, metrics = renewed.get("/health", token=None), httpx.get(f"{renewed.url}/metrics").text
        jetty = httpx.get(f"{renewed.url}/health").json()
    with serve_further(api, key_file=str(tmp_path / "none.keys")) as keyless:
        without = keyless.get("/health", token=None)

    assert ("degraded", lost, {"status": "degraded"}) == (health["status"], health["missingSecretKeys"], jetty)
    assert "secret_keys_missing" in health["reasons"]
    assert "routines_secret_keys_missing 1.0" in metrics
    assert lost in [line.get("keys") for line in lines]
    assert {"key_file_unusable", "secret_keys_missing"} <= set(without["reasons"])
    assert [] == api.get("/health", token=None)["missingSecretKeys"]
