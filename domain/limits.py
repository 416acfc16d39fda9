"""
How much of everything there may be: the one place of the numbers that keep one tenant from harming another.

An operator may change each of them (`routines/settings.py`: the variable `ROUTINES_<FIELD>`); `docs/limits.md` lists
them with what one gets beyond each. The number of a field that a single request can break stays with its shape in
`application/commands.py`; here is what counts per event, per company, per key, per process and per connection.
"""

from typing import Annotated

from msgspec import Meta

from domain.values import Value

KIB, MIB = 1024, 1024 * 1024

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, Meta(ge=KIB, le=1024 * MIB)]


class Limits(Value, frozen=True):
    """Sizes are in bytes, rates a minute; each process counts for itself."""

    # One event, and what is recorded in one transaction (application/store.py).
    max_event_bytes: Bytes = 2 * MIB  # of its stored JSON
    max_event_depth: Annotated[int, Meta(ge=8, le=200)] = 100  # levels of arrays and objects in it
    max_transaction_bytes: Bytes = 32 * MIB  # of all events that are recorded together

    # What small input may grow to: runs (domain/firing.py), routines, tasks and trajectories (domain/trajectory.py).
    max_run_text_bytes: Bytes = 256 * KIB  # that the variables of one run add to it
    max_routine_bytes: Bytes = 512 * KIB  # of a routine's settings, which each of its revisions repeats
    max_trajectory_bytes: Bytes = 512 * KIB  # workflow, parameters, metadata, steps and labels of one trajectory
    max_trajectory_labels: Count = 200
    max_task_steps: Count = 200
    max_output_depth: Annotated[int, Meta(ge=1, le=64)] = 64  # levels of arrays and objects that a step gives

    # What is recorded: of one stream, of one company, by one key or webhook (application/quota.py).
    max_stream_events: Count = 20_000
    max_stream_bytes: Bytes = 16 * MIB
    max_company_events_per_minute: Count = 240_000
    max_company_bytes_per_minute: Bytes = 128 * MIB
    max_key_events_per_minute: Count = 60_000
    max_key_bytes_per_minute: Bytes = 64 * MIB

    # How many there may be (application/quota.py).
    max_company_routines: Count = 10_000  # that are not archived
    max_company_triggers: Count = 20_000
    max_routine_triggers: Count = 100
    max_company_open_issues: Count = 100_000
    max_routine_open_issues: Count = 10_000  # or trajectories: all of them stand in one event now and then
    max_company_live_trajectories: Count = 10_000
    max_company_agents: Count = 1_000
    max_company_projects: Count = 2_000
    max_company_goals: Count = 5_000
    max_company_members: Count = 1_000
    max_company_endpoints: Count = 100
    max_company_tasks: Count = 2_000
    max_holder_keys: Count = 200  # of one user, agent or collection, that are not revoked
    max_issue_comments: Count = 5_000


DEFAULT = Limits()
