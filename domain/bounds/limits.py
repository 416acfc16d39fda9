"""
The one place for the limits that keep one tenant from harming another.

An operator may change each of them by the environment variable `ROUTINES_<FIELD>` (`routines/settings.py`);
`docs/limits.md` says what a client gets beyond each. The maximum length of a single field is not here, but in
`application/request_bodies/fields.py`.
"""

from typing import Annotated

from msgspec import Meta

from domain.values import Value

KIB, MIB, GIB = 1024, 1024**2, 1024**3

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, Meta(ge=KIB, le=1024 * MIB)]

# How much of a run's payload lists and the answers to senders show. An answer about one run shows the whole payload.
SHOWN_PAYLOAD_BYTES = 256 * KIB
# How many rows of one read model a transaction writes; a single event may write more (projections/engine/folding.py).
BATCH_ROWS = 5_000
# After how many bytes a statement that writes rows is sent, and another one begun (projections/engine/table.py).
STATEMENT_BYTES = 8 * MIB


class Limits(Value, frozen=True):
    """
    The limits of an installation.

    A field with `bytes` in its name is in bytes, one that ends in `_s` in seconds, and one that ends in `_per_minute` is a
    rate. `at_once` means at the same time, in one process: several processes together may do as much each.
    """

    # One event, and what is recorded in one transaction (application/event_store: codec.py, store.py).
    max_event_bytes: Bytes = 12 * MIB  # the stored JSON of one event; the event of a run has the run's whole payload
    max_event_depth: Annotated[int, Meta(ge=8, le=200)] = 100  # levels of arrays and objects in the JSON of one event
    max_transaction_bytes: Bytes = 32 * MIB  # the stored JSON of all events of one transaction
    read_batch_bytes: Bytes = 4 * MIB  # a batch of events that is read from the log ends after this much JSON

    # One unit of work (application/event_store/store.py).
    max_read_bytes: Bytes = 48 * MIB  # the stored JSON of all streams that it loads
    max_transaction_events: Count = 5_000  # the events that it records

    # What one request may cost in time (application/use_cases/explanations.py, web/paperclip/what_ifs.py, web/jetty/runs.py).
    # Schedules of a routine that one explanation is about; a request may name one of the others.
    max_explained_schedules: Count = 50
    # Events that one explanation reads: those of each schedule and, once for each schedule, those of the routine.
    max_explained_events: Count = 50_000
    # Firings and missed ranges of one replay, counted in the past and in the replay.
    max_what_if_firings: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    max_what_if_routines: Count = 500  # routines of a company that are replayed together
    max_past_events: Annotated[int, Meta(ge=1, le=1_000_000)] = (
        10_000  # events that an answer as of a moment is folded from
    )
    max_sync_waits: Annotated[int, Meta(ge=1, le=10_000)] = 100  # calls of run-sync that wait in one process
    max_company_sync_waits: Annotated[int, Meta(ge=1, le=10_000)] = 20  # calls of run-sync of one company that wait

    # How deep issues, goals and agents may be nested (application/use_cases).
    max_parents: Annotated[int, Meta(ge=1, le=1_000)] = (
        100  # levels above an issue, a goal or a folder; an agent's superiors
    )

    # Requests of one web process (web/http/guard.py, web/http/rate_limit.py) and its connections (web/http/protocol.py).
    max_body_bytes: Bytes = MIB  # the body of a request, where nothing below allows more
    max_large_body_bytes: Bytes = (
        10 * MIB
    )  # the body, if the sender has a valid key and the operation takes any JSON object
    max_webhook_bytes: Bytes = 10 * MIB  # the body of a call of a webhook, as it is sent and as it is unpacked
    max_held_body_bytes: Bytes = 64 * MIB  # the bodies of all requests in progress, and what is decoded from them
    # The part of `max_held_body_bytes` for one company or, while the company is not known, for one address.
    max_held_body_bytes_per_sender: Bytes = 24 * MIB
    max_connections: Annotated[int, Meta(ge=8, le=100_000)] = 1_000  # fewer if the process may open fewer files
    max_connections_per_peer: Annotated[int, Meta(ge=4, le=100_000)] = (
        256  # from one address; a trusted proxy may use all
    )
    max_event_readers: Annotated[int, Meta(ge=1, le=10_000)] = (
        400  # readers of live feeds of events (web/events/live.py)
    )
    max_exports_at_once: Annotated[int, Meta(ge=1, le=100)] = (
        4  # export files that are written (web/paperclip/exports.py)
    )
    max_export_bytes: Bytes = 256 * MIB  # one export file, which lies on the disk until it is sent
    export_limit_s: Annotated[float, Meta(gt=0, le=3_600)] = 30.0  # the time in which one export file must be written
    max_webhook_counters: Count = 10_000  # senders of webhook calls whose calls per minute are counted in memory

    # The environment of a collection (domain/jetty/environment.py). Linux takes 128 KiB for one variable.
    max_environment_variables: Count = 200
    max_environment_bytes: Bytes = 64 * KIB  # all names and values together

    # Whether requests on behalf of others may go to addresses that are not public (application/use_cases/targets.py).
    allow_private_targets: bool = False

    # What one delivery process sends at once (processes/delivery/worker.py), and looks up (processes/delivery/lookups.py).
    max_deliveries_at_once: Annotated[int, Meta(ge=2, le=10_000)] = (
        128  # attempts; one company alone has half at most (processes/delivery/shares.py)
    )
    max_receiver_deliveries_at_once: Count = 8  # attempts to one endpoint, agent or address of callbacks
    max_host_deliveries_at_once: Count = 16  # attempts to one host for one company
    max_delivery_bytes_at_once: Bytes = 64 * MIB  # the bodies of these attempts, shared likewise
    max_answer_bytes: Bytes = 64 * KIB  # what is read of a receiver's answer
    max_lookups_at_once: Annotated[int, Meta(ge=2, le=1_000)] = 64  # lookups of host names in DNS, each in a thread
    max_company_lookups_at_once: Count = 8  # lookups for one company
    max_host_lookups_at_once: Count = 2  # lookups of one name; the second begins only when the first is overdue
    lookup_limit_s: Annotated[float, Meta(gt=0, le=60)] = 5.0  # the time after which a lookup has failed

    # Failed attempts to deliver, after which the failing receivers of a company wait (processes/delivery/worker.py).
    max_company_failed_attempts_per_minute: Count = 600

    # What small input may expand to (domain/routines/firing.py, domain/routines/routine.py, domain/jetty/trajectory.py).
    max_run_text_bytes: Bytes = 256 * KIB  # what variables add to the title and the description of one run
    max_routine_bytes: Bytes = 5 * MIB  # the settings of a routine, which each of its revisions repeats
    max_trajectory_bytes: Bytes = 512 * KIB  # workflow, parameters, metadata, steps and labels of one trajectory
    max_trajectory_labels: Count = 200
    max_task_steps: Count = 200
    max_task_routines: Count = 1_000  # routines of one task that are not archived
    max_output_depth: Annotated[int, Meta(ge=1, le=64)] = 64  # levels of arrays and objects in a step's outputs

    # What is recorded in a minute for one company, and by one holder of keys or one webhook (application/quotas/rates.py).
    max_company_events_per_minute: Count = 240_000
    max_company_bytes_per_minute: Bytes = 32 * MIB
    max_key_events_per_minute: Count = 60_000
    max_key_bytes_per_minute: Bytes = 16 * MIB

    # How many there may be (application/quotas/standing_counts.py).
    max_company_routines: Count = 10_000  # routines that are not archived
    max_company_triggers: Count = 20_000
    max_routine_triggers: Count = 100
    max_company_open_issues: Count = 100_000
    max_routine_open_issues: Count = 10_000  # or live trajectories; one event, `slot.counted`, holds all of them
    max_company_live_trajectories: Count = 10_000
    max_company_agents: Count = 1_000
    max_company_projects: Count = 2_000
    max_company_goals: Count = 5_000
    max_company_folders: Count = 2_000
    max_company_members: Count = 1_000
    max_company_endpoints: Count = 20  # each event may cause a delivery to each of them
    max_company_tasks: Count = 2_000
    max_holder_keys: Count = 200  # keys of one user, agent or collection that are neither revoked nor expired
    max_issue_comments: Count = 5_000

    # The stored JSON of all events of one company; 0 means that only the disk is the limit (standing_counts.py, too).
    max_company_log_bytes: Annotated[int, Meta(ge=0, le=1024**6)] = 20 * GIB

    # The logs of runs, which hold what commands print (projections/firing/run_logs.py).
    max_run_log_bytes: Bytes = MIB  # the log of one run; each part of it counts 256 bytes beside its text
    max_company_run_log_bytes: Annotated[int, Meta(ge=KIB, le=1024**5)] = GIB  # the logs of all runs of a company
    max_run_log_days: Annotated[int, Meta(ge=1, le=3_650)] = 14  # days after which the log of a run is deleted

    # The stream cache of one process (application/event_store/stream_cache.py).
    max_cache_bytes: Bytes = 96 * MIB  # the memory that all cached streams take, as it is estimated
    max_cached_stream_bytes: Bytes = 256 * KIB  # the memory that one stream takes; a larger stream is not cached

    # One stream: the history of a thing, which every decision about it reads (application/event_store/unit_of_work.py).
    max_stream_events: Count = (
        10_000  # events that callers cause; a longer stream accepts only endings (domain/endings.py)
    )
    # The memory that the stream takes, as it is estimated; a change of more than a few KB may fill only half of it.
    max_stream_bytes: Bytes = 16 * MIB

    # One page of a list (projections/engine/documents.py).
    max_page_bytes: Bytes = 4 * MIB  # the JSON of the rows of the page; a page has at least one row


DEFAULT = Limits()
