"""The read model of the directory: companies, their members, agents, projects and goals, and the keys that were issued."""

from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

from domain.events import (
    AgentApproved,
    AgentCreated,
    AgentEvent,
    AgentHeartbeatStopped,
    AgentPaused,
    AgentResumed,
    AgentTerminated,
    AgentUpdated,
    CompanyArchived,
    CompanyCreated,
    CompanyEvent,
    CompanyUpdated,
    GoalEvent,
    KeyIssued,
    KeyRevoked,
    MemberChanged,
    MemberJoined,
    MemberRemoved,
    ProjectEvent,
    UserRegistered,
)
from domain.recorded import Recorded
from projections.board import agents, companies, goals, keys, members, projects
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Table

SCHEMA = """
CREATE TABLE company (id uuid PRIMARY KEY, position bigint NOT NULL, doc json NOT NULL);
CREATE TABLE member (
    id uuid PRIMARY KEY, user_id uuid NOT NULL, company_id uuid NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON member (user_id, position);
CREATE INDEX ON member (company_id, position);
CREATE TABLE person (id uuid PRIMARY KEY, name text NOT NULL, email text, instance_admin boolean NOT NULL);
CREATE TABLE agent (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, url_key text NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON agent (company_id, position);
CREATE INDEX ON agent (company_id, url_key);
CREATE TABLE project (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, url_key text NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON project (company_id, position);
CREATE INDEX ON project (company_id, url_key);
CREATE TABLE goal (id uuid PRIMARY KEY, company_id uuid NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON goal (company_id, position);
CREATE TABLE access_key (
    id uuid PRIMARY KEY, user_id uuid, agent_id uuid, position bigint NOT NULL, company_id uuid,
    membership_id uuid, doc json, agent_doc json, company_doc json);
CREATE INDEX ON access_key (user_id, position);
CREATE INDEX ON access_key (agent_id, position);
CREATE INDEX ON access_key (company_id, position);
CREATE INDEX ON access_key (membership_id);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the rows of the directory."""
    event = recorded.event
    if isinstance(event, CompanyEvent):
        companies.fold(recorded, rows)
    elif isinstance(event, UserRegistered | MemberJoined | MemberChanged | MemberRemoved):
        members.fold(recorded, rows)
    elif isinstance(event, AgentEvent):
        agents.fold(recorded, rows)
    elif isinstance(event, ProjectEvent):
        projects.fold(recorded, rows)
    elif isinstance(event, GoalEvent):
        goals.fold(recorded, rows)
    elif isinstance(event, KeyIssued | KeyRevoked):
        keys.fold(recorded, rows)


def keys_to_prefetch(_recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Return no keys: `fold` fetches each row when it changes it."""
    return ()


directory = ReadModel(
    name="directory",
    version=2,
    tables=(
        companies.COMPANY,
        members.MEMBER,
        members.PERSON,
        agents.AGENT,
        projects.PROJECT,
        goals.GOAL,
        keys.KEY,
    ),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(
        {
            UserRegistered,
            MemberJoined,
            MemberChanged,
            MemberRemoved,
            KeyIssued,
            KeyRevoked,
            CompanyCreated,
            CompanyUpdated,
            CompanyArchived,
            AgentCreated,
            AgentUpdated,
            AgentPaused,
            AgentResumed,
            AgentApproved,
            AgentHeartbeatStopped,
            AgentTerminated,
            *get_args(ProjectEvent),
            *get_args(GoalEvent),
        }
    ),
    views=(agents.AGENTS,),
)
