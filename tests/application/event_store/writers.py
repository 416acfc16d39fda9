"""Two companies whose people and agent write to a log with the rules of an installation."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg

from application.access import Caller
from application.audit import log_reader
from application.event_store.recorder import APPEND, Batch
from application.request_bodies.board import AgentDraft, CompanyDraft, MemberDraft
from application.use_cases.board import agents, companies, keys, members
from domain.identity import membership_of

BOUND = timedelta(minutes=5)


class WritersFixture:
    """Two companies on a database with the rules of an installation; Ann owns one of them, Vic is a viewer there."""

    def __init__(self, system, urls):
        self.system, self.urls = system, urls
        self.first = self.caller(system.executor.attempt(keys.mint_first).result)
        self.company = self.ask(self.first, companies.create, CompanyDraft(name="Ours"))
        self.other = self.ask(self.first, companies.create, CompanyDraft(name="Theirs"))
        self.ann, self.ann_key, self.ann_caller = self.join("Ann", "owner")
        self.vic, self.vic_key, self.vic_caller = self.join("Vic", "viewer")
        self.abe, self.abe_key, self.abe_caller = self.join("Abe", "admin")
        self.agent = self.ask(self.ann_caller, agents.create, self.company, AgentDraft(name="Scout")).agent_id

    def caller(self, minted):
        return Caller(token=minted.token)

    def ask(self, caller, use_case, *arguments):
        return self.system.executor.execute(caller, use_case, *arguments).result

    def join(self, name, role):
        added = self.ask(self.first, members.add, self.company, MemberDraft(name=name, membership_role=role))
        return added.user_id, added.key.key_id, self.caller(added.key)

    def membership(self, user_id, company_id=None):
        return membership_of(user_id, company_id or self.company)

    def log(self):
        """Everything, as an auditor reads it."""
        with psycopg.connect(self.urls("routines_auditor"), autocommit=True) as conn:
            return list(log_reader.read_rows(conn, log_reader.read_head(conn).position))

    def append(self, *events, evidence=(), login="routines_service"):
        """By hand, over a connection with the service's login; each event is (stream, name, body), of a next version."""
        with psycopg.connect(self.urls(login), autocommit=True) as conn:
            return conn.execute(APPEND, self.batch(*events, evidence=evidence)).fetchone()[0]

    def batch(self, *events, evidence=()):
        """What `append` gives to the log."""
        ids = [stream for stream, _, _ in events]
        now = {id_: sum(row.stream_id == id_ for row in self.log()) for id_ in {*ids, *evidence}}
        versions = [now[id_] + 1 for id_ in ids]
        names, bodies = [name for _, name, _ in events], [body for _, _, body in events]
        guarded = [id_ for id_ in evidence if id_ not in ids]
        return Batch(ids, versions, names, bodies, guarded, [now[id_] for id_ in guarded])


def text(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def body(kind, actor="system", company=None, at=None, **fields):
    """As the service writes it."""
    plain = {key: str(value) if isinstance(value, UUID) else value for key, value in fields.items()}
    envelope = {"at": text(at or datetime.now(UTC)), "actor": actor, "event": {"type": kind, **plain}}
    return json.dumps(envelope | ({"company_id": str(company)} if company else {}), separators=(",", ":")).encode()


def body_at(at, *, start="", after=""):
    """A body that says a time, with something before and after it."""
    return f'{{{start}"at":"{at}","actor":"system","event":{{"type":"agent.paused","reason":"x"}}{after}}}'.encode()
