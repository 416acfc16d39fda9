"""No secret shows where an object that holds it is printed, or where an error names a wrong setting."""

import traceback
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pprint import pformat
from uuid import UUID

import psycopg
import pytest
from rich.pretty import pretty_repr

from application.access import Caller
from application.request_bodies.jetty import CadenceConfig, EnvironmentChange, RoutineChange, RoutineCreate, RunCreate
from application.secrets.key_ring import KeyRing
from application.secrets.vault import Vault, VaultRecord
from application.use_cases import delivery_attempts, endpoints, triggers
from application.use_cases.board import agents, keys
from application.use_cases.jetty import trajectories
from domain.webhooks.secret import Secret
from domain.webhooks.verification import WebhookRequest
from projections.jetty.responses import NewApiKey
from routines import bootstrap
from routines.settings import BadSetting, Settings, from_env
from tests.acceptance.canaries import Canaries

CANARY = "canary-4f1d2c3b5a69788796a5b4c3d2e1f001"
KEY = b64encode(b"canary" * 5 + b"xx").decode()


def shapes_with_secrets(tmp_path):
    """Everything of ours that holds a secret in its memory."""
    key_file = tmp_path / "secret.keys"
    key_file.write_text(f"k1 {KEY}\n")
    key_file.chmod(0o600)
    settings = Settings(database_url=f"postgresql://someone:{CANARY}@127.0.0.1/x", key_file=str(key_file))
    now, id_ = datetime(2026, 11, 22, tzinfo=UTC), UUID(int=1)
    new_secrets = triggers.NewSecret(trigger_id=id_, public_id="0" * 24, secret=CANARY)
    ring = KeyRing(key_file)
    ring.current()
    secret = Secret(CANARY.encode())
    with bootstrap.system(Settings(database_url="postgresql://127.0.0.1:1/x")) as system:
        system_with_secrets = bootstrap.System(
            **{name: getattr(system, name) for name in system.__struct_fields__} | {"settings": settings}
        )
        vault = Vault(system.pool, ring)
    return {
        "Settings": settings,
        "System": system_with_secrets,
        "KeyRing": ring,
        "Vault": vault,
        "Secret": secret,
        "Kept": VaultRecord(id=id_, company_id=id_, owner_id=id_, purpose="webhook", secret=secret),
        "Caller": Caller(token=CANARY),
        "WebhookRequest": WebhookRequest(headers=(("authorization", f"Bearer {CANARY}"),), body=b"{}"),
        "key": keys.NewKey(key_id=id_, name="a", token=CANARY, created_at=now),
        "webhook": new_secrets,
        "made": triggers.TriggerResult(trigger_id=id_, history=(), new_secret=new_secrets),
        "agent": agents.AgentResult(agent_id=id_, heartbeat_secret=CANARY),
        "endpoint": endpoints.EndpointResult(endpoint_id=id_, secret=CANARY),
        "claim": trajectories.ClaimedTrajectory(
            trajectory_id=id_, claim_id=id_, secret_params={"a": CANARY}, environment={"B": CANARY}
        ),
        "address": delivery_attempts.Address(url="https://example.org", secrets=(secret,)),
        "routine of a task": RoutineCreate(
            name="a", cadence=CadenceConfig(type="manual"), secret_params={"a": CANARY}, webhook_secret=CANARY
        ),
        "change of one": RoutineChange(secret_params={"a": CANARY}, webhook_secret=CANARY),
        "call": RunCreate(secret_params={"a": CANARY}, webhook_secret=CANARY),
        "environment": EnvironmentChange(environment_variables={"A": CANARY}),
        "API key": NewApiKey(
            id=id_,
            collection_id=1,
            collection_name="a",
            name="a",
            key_prefix="mlc_",
            created_at="",
            is_active=True,
            api_key=CANARY,
        ),
    }


HOLDERS = (
    *("Settings", "System", "KeyRing", "Vault", "Secret", "Kept", "Caller", "WebhookRequest", "key", "webhook", "made"),
    *("agent", "endpoint", "claim", "address", "routine of a task", "change of one", "call", "environment", "API key"),
)


@pytest.mark.parametrize("kind", HOLDERS)
def test_nothing_that_holds_a_secret_shows_it_when_it_is_printed(tmp_path, kind):
    holder = shapes_with_secrets(tmp_path)[kind]
    ways = (repr, str, "{}".format, pformat, pretty_repr, lambda one: repr([one]), lambda one: pretty_repr({"a": one}))
    canaries = Canaries()
    canaries.known = {"secret": CANARY.encode(), "key": KEY.encode(), "bytes of the key": b64decode(KEY)}

    printed_text = "\n".join(way(holder) for way in ways)

    assert [] == [name for needle, name in canaries.map_needles().items() if needle.decode("latin-1") in printed_text]


def everything_said_by(error):
    """Of an exception and of those that are shown behind it."""
    return repr(error) + "".join(traceback.format_exception(error))


@pytest.mark.parametrize("field", ["threads", "log_level", "public_url", "webhook_rate"])
def test_a_wrong_setting_is_named_and_no_other_is_shown(field):
    address = f"postgresql://someone:{CANARY}@127.0.0.1/x"

    with pytest.raises(BadSetting) as caught:
        from_env({"ROUTINES_DATABASE_URL": address, f"ROUTINES_{field.upper()}": "nonsense?"})

    assert f"ROUTINES_{field.upper()}" in str(caught.value)
    assert CANARY not in everything_said_by(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://someone:{}@127.0.0.1:1/x",
        "postgresql://someone:{}@[half/x",
        "postgresql://someone:some@{}@127.0.0.1:1/x",
        "postgresql://someone:{}@127.0.0.1:port/x",
        "postgresql://someone@127.0.0.1:1/x?password={}&nonsense=1",
        "postgresql://someone@127.0.0.1:1/x?password={}",
        "postgres:/someone:{}@127.0.0.1",
        "host=127.0.0.1 port=1 user=someone password={}",
        "host=127.0.0.1 password={} port",
    ],
)
def test_a_database_that_is_not_found_is_told_without_its_password(address):
    with pytest.raises((BadSetting, psycopg.OperationalError, psycopg.ProgrammingError)) as caught:
        bootstrap.prepare(from_env({"ROUTINES_DATABASE_URL": address.format(CANARY)}))

    assert str(caught.value)
    assert CANARY not in everything_said_by(caught.value)
