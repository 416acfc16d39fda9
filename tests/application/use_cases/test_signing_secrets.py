from datetime import timedelta

from application.event_store.stream_kinds import ENDPOINT
from application.request_bodies.endpoints import EndpointDraft
from application.use_cases import endpoints, signing_secrets
from domain.events import EndpointSecretRotated


def made(here):
    draft = EndpointDraft(url="https://example.com/hook", events=("*",))
    return here.ask(endpoints.create, here.company, draft).endpoint_id


def replaced(here, endpoint, overlap_s):
    """Until when the old secret signs beside a new one."""

    def rotate(work):
        secret_id, _ = signing_secrets.mint(work, endpoint, here.company, "webhook endpoint")
        until = signing_secrets.retire(work, work.get(ENDPOINT, endpoint).signing, overlap_s)
        work.record(endpoint, [EndpointSecretRotated(secret_id=secret_id, old_until=until)])
        return until

    return here.carry_out(rotate)


def test_a_secret_is_one_of_standard_webhooks_and_is_in_the_vault(here):
    endpoint = made(here)

    secret = here.carry_out(lambda work: _minted(work, here, endpoint))

    assert secret.startswith("whsec_")
    assert secret.encode() in {kept.value for kept in here.vault.secrets.values()}


def _minted(work, here, endpoint):
    secret_id, secret = signing_secrets.mint(work, endpoint, here.company, "webhook endpoint")
    work.record(endpoint, [EndpointSecretRotated(secret_id=secret_id)])
    return secret


def test_without_an_overlap_the_old_secret_is_gone(here):
    endpoint = made(here)
    old = set(here.vault.secrets)

    assert replaced(here, endpoint, 0) is None
    assert not old & set(here.vault.secrets)


def test_with_one_it_signs_on_for_so_long_and_the_one_before_it_is_gone(here):
    endpoint = made(here)
    first = set(here.vault.secrets)

    assert here.now + timedelta(seconds=60) == replaced(here, endpoint, 60)
    assert first < set(here.vault.secrets)
    replaced(here, endpoint, 60)

    assert 2 == len(here.vault.secrets)
    assert not first & set(here.vault.secrets)
