from application.request_bodies.endpoints import EndpointDraft
from application.request_bodies.routines import PlainBinding, RoutineDraft, RoutinePatch
from application.secrets.vault import Place
from application.use_cases import endpoints, needed_secrets, routine_environment, routines


def needed(here, owner_id, purpose):
    """Which of all secrets in the vault this owner needs for this purpose."""
    places = [Place(id=id_, owner_id=owner_id, purpose=purpose) for id_ in here.vault.secrets]
    return [place.id for place in here.executor.query(lambda work: needed_secrets.needed(work, places))]


def test_the_secret_of_an_endpoint_is_needed_until_the_endpoint_is_deleted(here):
    draft = EndpointDraft(url="https://example.com/hook", events=("*",))
    endpoint = here.ask(endpoints.create, here.company, draft).endpoint_id
    kept = list(here.vault.secrets)

    assert kept == needed(here, endpoint, endpoints.PURPOSE)
    here.ask(endpoints.delete, here.company, endpoint)
    here.vault.secrets |= dict.fromkeys(kept)  # as if Postgres had gone away before it was dropped
    assert [] == needed(here, endpoint, endpoints.PURPOSE)


def test_the_values_of_a_routines_environment_are_needed_until_others_replace_them(here):
    draft = RoutineDraft(title="Look", env={"REGION": PlainBinding(value="eu")})
    routine = here.ask(routines.create, here.company, draft)
    [old] = here.vault.secrets

    assert [old] == needed(here, routine, routine_environment.PURPOSE)
    here.ask(routines.update, routine, RoutinePatch(env={"REGION": PlainBinding(value="us")}))
    here.vault.secrets |= {old: None}
    [new] = set(here.vault.secrets) - {old}
    assert [new] == needed(here, routine, routine_environment.PURPOSE)
    here.ask(routines.update, routine, RoutinePatch(env=None))
    here.vault.secrets |= {new: None}
    assert [] == needed(here, routine, routine_environment.PURPOSE)


def test_a_secret_of_an_unknown_purpose_is_needed(here):
    here.ask(endpoints.create, here.company, EndpointDraft(url="https://example.com/hook", events=("*",)))

    assert list(here.vault.secrets) == needed(here, here.company, "something newer")
