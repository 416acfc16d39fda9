"""A company that tells others, and a delivery process in a thread."""

import ssl
from functools import cache, partial

import pytest
from msgspec.structs import replace

from application.access import Caller
from application.outage import Outage
from application.request_bodies.board import CompanyDraft
from application.request_bodies.endpoints import EndpointDraft
from application.request_bodies.issues import IssueDraft
from application.request_bodies.jetty import CollectionCreate, TaskCreate
from application.use_cases import endpoints
from application.use_cases.board import companies, issues, keys
from application.use_cases.jetty import collections, tasks
from application.use_cases.names import TaskPath
from domain.delivery import retry
from domain.events import DeliveryEvent, stored_name
from processes.delivery import worker
from processes.delivery.outbound import Client
from projections.delivery import delivery_history
from projections.delivery.deliveries import deliveries
from projections.engine import positions
from routines import bootstrap

ECHO = {
    "init_params": {"text": "hello"},
    "step_configs": {"say": {"activity": "text_echo", "text_path": "init_params.text"}},
    "steps": ["say"],
}
TASK = TaskPath(collection="my-org", task="say")


@cache
def trusted_authorities():
    """The authorities that this machine trusts; to read them takes longer than most tests of a request."""
    return ssl.create_default_context()


class DeliveryFixture:
    """A company and the things in it that tell others; each method is one use case of its owner."""

    def __init__(self, system):
        self.system = system
        self.caller = Caller(token=system.executor.attempt(keys.mint_first).result.token)
        self.company = self.ask(companies.create, CompanyDraft(name="Acme"))

    def ask(self, use_case, *args):
        return self.system.executor.execute(self.caller, use_case, *args).result

    def endpoint(self, url, events=("issue.opened",), company=None, **fields):
        """Its id and secret."""
        minted = self.ask(endpoints.create, company or self.company, EndpointDraft(url=url, events=events, **fields))
        return minted.endpoint_id, minted.secret

    def issue(self, title="Look", company=None, **fields):
        return self.ask(issues.create, company or self.company, IssueDraft(title=title, **fields))

    def issues(self, count, company=None, **fields):
        """So many issues, in one unit of work."""
        drafts = [IssueDraft(**{"title": str(number), **fields}) for number in range(count)]
        self.ask(lambda work, by: [issues.create(work, by, company or self.company, draft) for draft in drafts])

    def limit(self, **fields):
        """Other limits than usual, for what is started from here on."""
        self.system.store.limits = replace(self.system.store.limits, **fields)

    def task(self, workflow=ECHO):
        """The task TASK, in a company of its own."""
        company = self.ask(collections.create, CollectionCreate(name="my-org"))
        self.ask(tasks.create, "my-org", TaskCreate(name="say", workflow=workflow))
        return company

    def events(self, kind):
        return [one.event for one in self.system.store.history() if isinstance(one.event, kind)]

    def outcomes(self):
        """The stored names of what became of deliveries, in order."""
        return [stored_name(event) for event in self.events(DeliveryEvent)]

    def list_deliveries(self, company=None, **filters):
        with self.system.pool.connection() as conn:
            while positions.advance(conn, [deliveries], self.system.store.after):
                pass
            return delivery_history.of_company(conn, company or self.company, 100, **filters)

    def pending(self, url):
        """The one message of the company, which waits to be sent to this address."""
        self.endpoint(url)
        self.issue()
        [delivery] = self.list_deliveries()
        return delivery


@pytest.fixture
def delivery_fixture(settings, tmp_path):
    key_file = str(tmp_path / "secret.keys")
    bootstrap.make_keys(key_file)
    limits = replace(settings.limits, allow_private_targets=True)
    with bootstrap.system(replace(settings, key_file=key_file, limits=limits)) as system:
        yield DeliveryFixture(system)


@pytest.fixture
def start_delivery(delivery_fixture, in_thread):
    """Starts a delivery process in a thread."""

    def start(*, allow_private=True, limit_s=10.0):
        limits = delivery_fixture.system.store.limits
        client = Client(
            delivery_fixture.system.clock,
            limit_s=limit_s,
            context=trusted_authorities(),
            limits=replace(limits, allow_private_targets=allow_private),
        )
        delivery_worker = worker.DeliveryWorker(
            delivery_fixture.system.executor, delivery_fixture.system.store.after, client
        )
        return in_thread(
            partial(worker.run, outage=Outage()),
            delivery_worker,
            client,
            lambda: bootstrap.connect(delivery_fixture.system.settings),
        )

    return start


@pytest.fixture
def short_pauses(monkeypatch):
    """Pauses between attempts are short."""
    monkeypatch.setattr(retry, "PAUSES_S", (0.02,) * 12)
