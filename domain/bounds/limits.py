"""
The one place for the limits that keep one tenant from harming another.

An operator may change each of them (`routines/settings.py`: the variable `ROUTINES_<FIELD>`); `docs/limits.md` lists
them with what a client gets beyond each. The maximum length of a single field is in `application/request_bodies.py`;
the numbers here count per event, company, key, process or connection.
"""

from typing import Annotated

from msgspec import Meta

from domain.values import Value

KIB, MIB, GIB = 1024, 1024**2, 1024**3

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, Meta(ge=KIB, le=1024 * MIB)]

SHOWN_PAYLOAD_BYTES = 256 * KIB  # of a run's payload in lists and in answers to senders; one run is read whole
BATCH_ROWS = 5_000  # of one read model in a transaction; one event may write more (projections/engine/read_model.py)
STATEMENT_BYTES = 8 * MIB  # a statement that writes rows ends after so many bytes (projections/engine/read_model.py)


class Limits(Value, frozen=True):
    """The limits of an installation. Sizes are in bytes, rates per minute; each process counts for itself."""

    # One event, and what is recorded in one transaction (application/event_store/store.py).
    max_event_bytes: Bytes = 12 * MIB  # of stored JSON; a run keeps its payload whole
    max_event_depth: Annotated[int, Meta(ge=8, le=200)] = 100  # levels of arrays and objects in it
    max_transaction_bytes: Bytes = 32 * MIB  # of all events in it
    read_batch_bytes: Bytes = 4 * MIB  # a batch read from the log ends after so many (recorder.py)

    # One unit of work (application/event_store/store.py).
    max_read_bytes: Bytes = 48 * MIB  # of stored JSON, over all its loads
    max_transaction_events: Count = 5_000  # recorded together

    # What one request may cost in time (application/use_cases/explanations.py, web/paperclip/what_ifs.py, web/jetty/runs.py).
    max_explained_schedules: Count = 50  # of a routine, in one explanation; others on request, one by one
    max_explained_events: Count = 50_000  # in one explanation: each schedule's and, for each, the routine's
    max_what_if_firings: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000  # and missed ranges, in the past or replayed
    max_what_if_routines: Count = 500  # of a company, replayed together
    max_past_events: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000  # from which one answer as of a moment is folded
    max_sync_waits: Annotated[int, Meta(ge=1, le=10_000)] = 100  # calls of run-sync that wait in one process
    max_company_sync_waits: Annotated[int, Meta(ge=1, le=10_000)] = 20  # of these, for one company

    # How deep issues, goals and agents may be nested (application/use_cases).
    max_parents: Annotated[int, Meta(ge=1, le=1_000)] = (
        100  # above an issue, a goal or a folder, or superiors of an agent
    )

    # Requests of one web process (web/http/guard.py, web/http/rate_limit.py) and its connections (web/http/protocol.py).
    max_body_bytes: Bytes = MIB
    max_large_body_bytes: Bytes = 10 * MIB  # from a sender with a valid key, if the operation takes any JSON object
    max_webhook_bytes: Bytes = 10 * MIB  # as it is sent, and unpacked
    max_held_body_bytes: Bytes = 64 * MIB  # of all requests in progress: their bodies and what is decoded from them
    max_held_body_bytes_per_sender: Bytes = 24 * MIB  # of one company, or of one address while the company is not known
    max_connections: Annotated[int, Meta(ge=8, le=100_000)] = 1_000  # fewer if the process may open fewer files
    max_connections_per_peer: Annotated[int, Meta(ge=4, le=100_000)] = 256  # a trusted proxy may use all of them
    max_event_readers: Annotated[int, Meta(ge=1, le=10_000)] = 400  # of live feeds of events (web/events/live.py)
    max_exports_at_once: Annotated[int, Meta(ge=1, le=100)] = (
        4  # files that one web process writes (web/paperclip/exports.py)
    )
    max_export_bytes: Bytes = 256 * MIB  # of one file, which lies on the disk until it is sent
    export_limit_s: Annotated[float, Meta(gt=0, le=3_600)] = 30.0  # for writing one file
    max_webhook_counters: Count = 10_000  # counters in memory: calls per minute by sender

    # The environment of a collection (domain/jetty/environment.py). Linux takes 128 KiB for one variable.
    max_environment_variables: Count = 200
    max_environment_bytes: Bytes = 64 * KIB  # of all names and values

    # Outbound: what one delivery process does at once (processes/delivery/worker.py, processes/delivery/lookups.py).
    max_deliveries_at_once: Annotated[int, Meta(ge=2, le=10_000)] = 128  # attempts; one company may use all free ones
    max_receiver_deliveries_at_once: Count = 8  # attempts to one endpoint, agent or address of callbacks
    max_host_deliveries_at_once: Count = 16  # attempts to one host for one company
    max_delivery_bytes_at_once: Bytes = 64 * MIB  # bodies; one company may use all that is free
    max_answer_bytes: Bytes = 64 * KIB  # read of an answer
    max_lookups_at_once: Annotated[int, Meta(ge=2, le=1_000)] = 64  # names in DNS, each in a thread
    max_company_lookups_at_once: Count = 8
    max_host_lookups_at_once: Count = 2  # of one name; a second only when the first is overdue
    lookup_limit_s: Annotated[float, Meta(gt=0, le=60)] = 5.0  # for one name

    # Outbound: beyond so many failed attempts, a company's failing receivers wait (processes/delivery/worker.py).
    max_company_failed_attempts_per_minute: Count = 600

    # What small input may expand to (domain/routines/firing.py, domain/routines/routine.py, domain/jetty/trajectory.py).
    max_run_text_bytes: Bytes = 256 * KIB  # added to one run by its variables
    max_routine_bytes: Bytes = 5 * MIB  # of a routine's settings, which each of its revisions repeats
    max_trajectory_bytes: Bytes = 512 * KIB  # workflow, parameters, metadata, steps and labels of one trajectory
    max_trajectory_labels: Count = 200
    max_task_steps: Count = 200
    max_task_routines: Count = 1_000  # that are not archived
    max_output_depth: Annotated[int, Meta(ge=1, le=64)] = 64  # levels of arrays and objects in a step's outputs

    # What is recorded in a minute: for one company, and by one holder of keys or one webhook (application/quotas/rates.py).
    max_company_events_per_minute: Count = 240_000
    max_company_bytes_per_minute: Bytes = 32 * MIB
    max_key_events_per_minute: Count = 60_000
    max_key_bytes_per_minute: Bytes = 16 * MIB

    # How many there may be (application/quotas/standing_counts.py).
    max_company_routines: Count = 10_000  # that are not archived
    max_company_triggers: Count = 20_000
    max_routine_triggers: Count = 100
    max_company_open_issues: Count = 100_000
    max_routine_open_issues: Count = 10_000  # or trajectories; `slot.counted` holds all of them in one event
    max_company_live_trajectories: Count = 10_000
    max_company_agents: Count = 1_000
    max_company_projects: Count = 2_000
    max_company_goals: Count = 5_000
    max_company_folders: Count = 2_000
    max_company_members: Count = 1_000
    max_company_endpoints: Count = 20  # each event may cause a delivery to each of them
    max_company_tasks: Count = 2_000
    max_holder_keys: Count = 200  # of one user, agent or collection, that are neither revoked nor expired
    max_issue_comments: Count = 5_000

    # What one company may have on disk in total (application/quotas/standing_counts.py); 0: no limit but the disk.
    max_company_log_bytes: Annotated[int, Meta(ge=0, le=1024**6)] = 20 * GIB  # of the stored JSON of its events

    # The logs of runs: what commands print (projections/firing/run_logs.py).
    max_run_log_bytes: Bytes = MIB  # of one run; a part counts 256 bytes beside its text
    max_company_run_log_bytes: Annotated[int, Meta(ge=KIB, le=1024**5)] = GIB  # of all runs of a company
    max_run_log_days: Annotated[int, Meta(ge=1, le=3_650)] = 14  # then it is deleted

    # The stream cache of one process (application/event_store/stream_cache.py).
    max_cache_bytes: Bytes = 96 * MIB  # of memory, estimated
    max_cached_stream_bytes: Bytes = 256 * KIB  # of memory for one stream

    # One stream: the history of a thing, which every decision about it reads (application/event_store/unit_of_work.py).
    max_stream_events: Count = 10_000  # by callers; a longer stream accepts only endings (domain/endings.py)
    max_stream_bytes: Bytes = 16 * MIB  # of memory, estimated; a change of more than a few KB may fill half of it

    # One page of a list (projections/engine/read_model.py).
    max_page_bytes: Bytes = 4 * MIB  # of the JSON of its rows; a page has at least one row


DEFAULT = Limits()
