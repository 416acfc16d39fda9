"""Which secrets a delivery is signed with, while one is rotated and after."""

import pytest
from standardwebhooks import Webhook

from application.use_cases import endpoints
from tests.waiting import wait_for
from verification.faults.receiver import Receiver


def test_while_a_rotation_overlaps_either_secret_proves_who_sent_it(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        endpoint, old = delivery_fixture.endpoint(receiver.url)
        new = delivery_fixture.ask(endpoints.rotate, delivery_fixture.company, endpoint, 60).secret
        delivery_fixture.issue()
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    for secret in (old, new):
        Webhook(secret).verify(got.body, dict(got.headers))


def test_without_an_overlap_the_old_secret_signs_nothing(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        endpoint, old = delivery_fixture.endpoint(receiver.url)
        delivery_fixture.ask(endpoints.rotate, delivery_fixture.company, endpoint, 0)
        delivery_fixture.issue()
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    with pytest.raises(Exception, match="No matching signature"):
        Webhook(old).verify(got.body, dict(got.headers))
