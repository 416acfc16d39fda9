"""`routines delivery`: sends what leaves, and asks probes and witnesses."""

import click

from processes.delivery.outbound import Client
from processes.delivery.worker import DeliveryWorker, run
from routines import bootstrap
from routines.commands import entry


@click.command()
def delivery() -> None:
    """
    Send webhooks, heartbeats and callbacks, and ask the probes of routines. Any number of these processes may run.

    The witnesses that ROUTINES_WITNESSES names are asked to cosign each new checkpoint of the log. Requests go to public
    addresses only, unless ROUTINES_ALLOW_PRIVATE_TARGETS is true.
    """
    with entry.process("delivery") as (system, stop):
        client = Client(system.clock.carry_on, limits=system.settings.limits)
        delivery_worker = DeliveryWorker(system.executor, system.store.after, client, system.settings.log_witnesses)
        run(delivery_worker, client, lambda: bootstrap.connect_follower(system), stop, system.outage)
