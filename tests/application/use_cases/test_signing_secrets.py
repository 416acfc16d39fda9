from datetime import timedelta

from application.event_store.stream_kinds import ENDPOINT
from application.request_bodies.endpoints import EndpointDraft
from application.use_cases import endpoints, signing_secrets
from domain.events import EndpointSecretRotated


def create_endpoint(app):
    draft = EndpointDraft(url="https://example.com/hook", events=("*",))
    return app.ask(endpoints.create, app.company, draft).endpoint_id


def replace_secret(app, endpoint, overlap_s):
    """Until when the old secret signs beside a new one."""

    def rotate(work):
        secret_id, _ = signing_secrets.mint(work, endpoint, app.company, "webhook endpoint")
        until = signing_secrets.retire(work, work.get(ENDPOINT, endpoint).signing, overlap_s)
        work.record(endpoint, [EndpointSecretRotated(secret_id=secret_id, old_until=until)])
        return until

    return app.carry_out(rotate)


def test_a_secret_is_one_of_standard_webhooks_and_is_in_the_vault(app):
    endpoint = create_endpoint(app)

    secret = app.carry_out(lambda work: _mint_secret(work, app, endpoint))

    assert secret.startswith("whsec_")
    assert secret.encode() in {kept.value for kept in app.vault.secrets.values()}


def _mint_secret(work, app, endpoint):
    secret_id, secret = signing_secrets.mint(work, endpoint, app.company, "webhook endpoint")
    work.record(endpoint, [EndpointSecretRotated(secret_id=secret_id)])
    return secret


def test_without_an_overlap_the_old_secret_is_gone(app):
    endpoint = create_endpoint(app)
    old = set(app.vault.secrets)

    assert replace_secret(app, endpoint, 0) is None
    assert not old & set(app.vault.secrets)


def test_with_one_it_signs_on_for_so_long_and_the_one_before_it_is_gone(app):
    endpoint = create_endpoint(app)
    first = set(app.vault.secrets)

    assert app.now + timedelta(seconds=60) == replace_secret(app, endpoint, 60)
    assert first < set(app.vault.secrets)
    replace_secret(app, endpoint, 60)

    assert 2 == len(app.vault.secrets)
    assert not first & set(app.vault.secrets)
