"""Companies, agents, projects and goals."""

from datetime import datetime
from uuid import UUID

from domain.events.event import Event
from domain.values import AgentProfile, AgentStatus, CompanyDetails, GoalDetails, ProjectDetails, Sealed, Text


class CompanyCreated(Event, frozen=True, tag="company.created"):
    """A company was created."""

    details: CompanyDetails
    issue_prefix: str


class CompanyUpdated(Event, frozen=True, tag="company.updated"):
    """The name or the description of the company changed."""

    details: CompanyDetails


class CompanyArchived(Event, frozen=True, tag="company.archived"):
    """The company is retired for good: nothing fires or begins in it any more."""


class CompanyErased(Event, frozen=True, tag="company.erased"):
    """What people have written, sent or are called in the company was made unreadable for ever, for this reason."""

    reason: str


class CompanyNamed(Event, frozen=True, tag="company.named"):
    """The company got the name by which Jetty's clients know it as a collection; no other company has it."""

    name: Text


class CompanyEnvironmentChanged(Event, frozen=True, tag="company.environment_changed"):
    """
    The environment variables of the company's workers changed: their names, and where their values are kept. None means
    that there are no variables.
    """

    environment: Sealed | None = None


class AgentCreated(Event, frozen=True, tag="agent.created"):
    """An agent joined a company."""

    profile: AgentProfile
    url_key: Text
    status: AgentStatus = "idle"


class AgentUpdated(Event, frozen=True, tag="agent.updated"):
    """The profile of the agent changed."""

    profile: AgentProfile


class AgentPaused(Event, frozen=True, tag="agent.paused"):
    """The agent takes no new work."""

    reason: Text = "manual"


class AgentResumed(Event, frozen=True, tag="agent.resumed"):
    """The agent takes work again."""


class AgentApproved(Event, frozen=True, tag="agent.approved"):
    """An agent that waited for approval may work."""


class AgentTerminated(Event, frozen=True, tag="agent.terminated"):
    """The agent is gone for good; its keys are not accepted any more."""


class AgentHeartbeatSecretSet(Event, frozen=True, tag="agent.heartbeat_secret_set"):
    """
    The agent's heartbeats are signed with this secret of the vault, and until `old_until` with the previous one as
    well.
    """

    secret_id: UUID
    old_until: datetime | None = None


class AgentHeartbeatStopped(Event, frozen=True, tag="agent.heartbeat_stopped"):
    """The agent gets no more heartbeats: its address answered that it is gone (reason `gone`)."""

    reason: str


class ProjectCreated(Event, frozen=True, tag="project.created"):
    """A project was created."""

    details: ProjectDetails
    url_key: Text


class ProjectUpdated(Event, frozen=True, tag="project.updated"):
    """The details of the project changed."""

    details: ProjectDetails


class ProjectPaused(Event, frozen=True, tag="project.paused"):
    """The schedules of the project's routines are suppressed."""

    reason: Text = "manual"


class ProjectResumed(Event, frozen=True, tag="project.resumed"):
    """The schedules of the project's routines run again. What they skipped is not made up for."""


class ProjectDeleted(Event, frozen=True, tag="project.deleted"):
    """The project is gone; issues that were in it keep its id."""


class GoalCreated(Event, frozen=True, tag="goal.created"):
    """A goal was created."""

    details: GoalDetails


class GoalUpdated(Event, frozen=True, tag="goal.updated"):
    """The details of the goal changed."""

    details: GoalDetails


class GoalDeleted(Event, frozen=True, tag="goal.deleted"):
    """The goal is gone."""


CompanyEvent = (
    CompanyCreated | CompanyUpdated | CompanyArchived | CompanyErased | CompanyNamed | CompanyEnvironmentChanged
)


AgentEvent = (
    AgentCreated
    | AgentUpdated
    | AgentPaused
    | AgentResumed
    | AgentApproved
    | AgentTerminated
    | AgentHeartbeatSecretSet
    | AgentHeartbeatStopped
)


ProjectEvent = ProjectCreated | ProjectUpdated | ProjectPaused | ProjectResumed | ProjectDeleted


GoalEvent = GoalCreated | GoalUpdated | GoalDeleted
