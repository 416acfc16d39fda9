from application.request_bodies.endpoints import EndpointDraft
from application.request_bodies.routines import PlainBinding, RoutineDraft, RoutinePatch
from application.secrets.vault import SecretPlace
from application.use_cases import endpoints, needed_secrets, routine_environment, routines


def find_needed_secrets(app, owner_id, purpose):
    """Which of all secrets in the vault this owner needs for this purpose."""
    places = [SecretPlace(id=id_, owner_id=owner_id, purpose=purpose) for id_ in app.vault.secrets]
    return [place.id for place in app.executor.query(lambda work: needed_secrets.find_needed(work, places))]


def test_the_secret_of_an_endpoint_is_needed_until_the_endpoint_is_deleted(app):
    draft = EndpointDraft(url="https://example.com/hook", events=("*",))
    endpoint = app.ask(endpoints.create, app.company, draft).endpoint_id
    secret_ids = list(app.vault.secrets)

    assert secret_ids == find_needed_secrets(app, endpoint, endpoints.PURPOSE)
    app.ask(endpoints.delete, app.company, endpoint)
    app.vault.secrets |= dict.fromkeys(secret_ids)  # as if Postgres had gone away before it was dropped
    assert [] == find_needed_secrets(app, endpoint, endpoints.PURPOSE)


def test_the_values_of_a_routines_environment_are_needed_until_others_replace_them(app):
    draft = RoutineDraft(title="Look", env={"REGION": PlainBinding(value="eu")})
    routine = app.ask(routines.create, app.company, draft)
    [old] = app.vault.secrets

    assert [old] == find_needed_secrets(app, routine, routine_environment.PURPOSE)
    app.ask(routines.update, routine, RoutinePatch(env={"REGION": PlainBinding(value="us")}))
    app.vault.secrets |= {old: None}
    [new] = set(app.vault.secrets) - {old}
    assert [new] == find_needed_secrets(app, routine, routine_environment.PURPOSE)
    app.ask(routines.update, routine, RoutinePatch(env=None))
    app.vault.secrets |= {new: None}
    assert [] == find_needed_secrets(app, routine, routine_environment.PURPOSE)


def test_a_secret_of_an_unknown_purpose_is_needed(app):
    app.ask(endpoints.create, app.company, EndpointDraft(url="https://example.com/hook", events=("*",)))

    assert list(app.vault.secrets) == find_needed_secrets(app, app.company, "something newer")
