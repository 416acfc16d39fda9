"""Which secrets of the vault something still uses, of everything that can have one."""

from collections import Counter

from application.use_cases import needed_secrets
from tests.web.jetty.conftest import Jetty


def test_a_secret_is_needed_until_what_uses_it_has_another_or_is_gone(api, jetty: Jetty):
    vault = api.system.vault
    current = vault.ring.ids()[0]
    earlier_ids = {place.id for place in vault.places_under(current)}

    def needed(places):
        return api.system.executor.query(lambda work: needed_secrets.find_needed(work, places))

    company = api.company()
    agent = api.post(f"/companies/{company}/agents", {"name": "Beats", "heartbeatUrl": "https://example.org/beat"})[
        "id"
    ]
    signed = {"kind": "webhook", "signingMode": "hmac_sha256"}
    webhook = api.post(f"/routines/{api.routine(company, agent)}/triggers", signed)["trigger"]["id"]
    endpoint = api.post(f"/companies/{company}/webhook-endpoints", {"url": "https://example.org/", "events": ["run.*"]})
    jetty.patch(f"/collections/{jetty.collection}/environment", {"environment_variables": {"A": "1"}})
    task = jetty.task()
    callback = {"webhook_url": "https://example.org/done", "webhook_secret": "long enough to sign with"}
    routine = jetty.routine(task, secret_params={"a": "1"}, **callback)
    call = jetty.post(f"/run/{jetty.collection}/{task}", {"secret_params": {"a": "1"}, **callback})

    places = [place for place in vault.places_under(current) if place.id not in earlier_ids]
    assert places == needed(places)
    assert {
        "webhook": 1,
        "webhook endpoint": 1,
        "heartbeat": 1,
        "environment": 1,
        "secret params": 2,
        "callback": 2,
    } == Counter(place.purpose for place in places)

    api.post(f"/routine-triggers/{webhook}/rotate-secret")
    api.request("DELETE", f"/companies/{company}/webhook-endpoints/{endpoint['id']}")
    api.post(f"/agents/{agent}/terminate")
    jetty.patch(f"/collections/{jetty.collection}/environment", {"environment_variables": {"A": "2"}})
    jetty.request("DELETE", routine)
    jetty.post(f"/trajectory/{jetty.collection}/{task}/statuses", {str(call["trajectory_id"]): "cancelled"})

    assert ["callback"] == [place.purpose for place in needed(places)]  # an ended call may be called back again
