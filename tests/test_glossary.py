"""docs/glossary.md names things that are in the code, and names that were replaced are used no more."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("domain", "application", "projections", "web", "processes", "routines", "audit_verifier", "verification")
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `([\w/.]+)` ((?:`\w+` ?)+) \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs/glossary.md").read_text())

# The names that were replaced, each with what it is called now: of classes, functions, constants, fields and modules.
# The same word may be right for something else: then the places follow where it was wrong, and only they are looked at.
REPLACED = {
    ("Delivery", "domain/webhooks"): "WebhookRequest",
    ("MAX_DELIVERY_BYTES",): "MAX_WEBHOOK_BYTES",
    ("Letter",): "PendingDelivery",
    ("letters",): "delivery_attempts",
    ("Courier",): "DeliveryWorker",
    ("round", "processes/delivery"): "send_due",
    ("Composed",): "Payload",
    ("composing",): "payloads",
    ("lane", "domain", "processes"): "partition_key",
    ("LANES",): "MAX_CONCURRENT_BATCHES",
    ("Turnstile",): "WebhookRateLimiter",
    ("turnstile",): "rate_limit",
    ("enter", "web"): "check",
    ("Judging",): "PublicAddressBackend",
    ("faces",): "apis",
    ("Face",): "ApiName",
    ("by_face",): "dispatch_by_api",
    ("Work",): "UnitOfWork",
    ("work", "application/event_store"): "unit_of_work",
    ("Memory", *PACKAGES[:-1]): "StreamCache",
    ("recall",): "get",
    ("learn",): "put",
    ("Remembered",): "CachedStream",
    ("_by_memory",): "_try_with_cache",
    ("presume_new",): "assume_new",
    ("presume_new_runs",): "assume_new_runs",
    ("presumed",): "assumed_new",
    ("Foresight",): "Prefetcher",
    ("foresight",): "prefetch",
    ("AHEAD", *PACKAGES): "PREFETCH_WINDOW",
    ("settled", "processes"): "batch_report",
    ("unsettled",): "schedule_changes",
    ("drop", "application/use_cases", "domain/routines"): "record_pending_as_missed",
    ("drop_all",): "record_all_pending_as_missed",
    ("acted_on",): "polled",
    ("acted_on_by",): "polled_by",
    ("touches",): "keys_to_prefetch",
    ("steps", "projections/engine"): "three plain loops",
    ("shape", "projections"): "schema_hash",
    ("shapes", "projections", "web"): "responses",
    ("Shape", "projections", "web"): "ResponseBody",
    ("commands", "application"): "request_bodies",
    ("Texts",): "RenderedTemplate",
    ("texts", "application/use_cases/runs.py", "domain/routines/firing.py"): "render",
    ("since", "domain/routines/trigger.py"): "next_unsettled_at",
    ("Called", "application"): "AuthenticatedWebhook, TaskRef",
    ("Found", *PACKAGES): "what was found: TaskRef, CallRow, ...",
    ("Made", *PACKAGES): "TriggerResult, ...",
    ("Minted", *PACKAGES): "NewSecret, ...",
    ("calls", "application"): "task_routines",
    ("calling",): "task_firing",
    ("call", "domain/jetty"): "task_call",
    ("Trouble", "routines"): "CommandError, RepeatedFailure",
    ("Wanted",): "DocumentQuery",
    ("KeptDocuments",): "DocumentCache",
    ("Account", "domain"): "Explanation",
    ("account", "domain"): "sentences",
    ("Era",): "ConfigPeriod",
    ("Question",): "ExplainQuery",
    ("look", "application", "web"): "query_as, poll",
    ("ask", "application", "domain", "projections", "web"): "query",
    ("shown", "web"): "consistent_read",
    ("found", "web"): "find_authorized",
    ("viewing",): "read_access",
    ("Misfit",): "InvalidField",
    ("Unknown",): "Unauthenticated",
    ("Unacceptable",): "RuleViolation",
    ("Refusal",): "DomainError",
    ("Seat",): "MembershipRef",
    ("Standing",): "ReadModelStatus",
    ("standing",): "what the user is in the company",
    ("closing", "projections"): "poll_until",
    ("wish",): "retry_after",
    ("turned",): "rotated",
    ("let_go", *PACKAGES[:2]): "retire",
    ("Live",): "LiveWork",
    ("bite",): "mutation_check",
    ("place", "verification"): "environment",
    ("Place", "verification"): "Environment",
    ("wire",): "postgres_proxy",
    ("minutes", "verification/faults"): "cron_oracle",
    ("agenda",): "in_memory_read_models",
    ("scene",): "fixtures",
    ("screen",): "console",
    ("story", "routines"): "walkthrough",
    ("taken_apart",): "split_erasable",
    ("put_together",): "join_erasable",
    ("touching",): "find_affected_occurrences",
    ("stoppable",): "stop_on_signal",
    ("Deed",): "Activity",
    ("Died",): "ProcessDied",
    ("Ended", "verification"): "WorldResult",
    ("Break", "verification/simulation"): "Mutation",
    ("Town",): "RunningSystem",
    ("Workplace",): "CompanyFixture",
    ("Crowd",): "CompanyFixture",
    ("to_stored",): "encode",
    ("_note", "application/execute.py"): "_remember_tenant",
    ("check_issue",): "check_parent_issue",
    ("OF_THEN",): "PAST_POSITION",
    ("RespondError",): "ErrorAnswers",
    ("Refuse",): "ErrorAnswers",
    ("Share", "web"): "HeldBody",
    ("Near", "web"): "NearCounts",
    ("local_moment",): "read_field",
}


@cache
def names() -> set[tuple[str, str]]:
    """Every name of a class, a function, a constant, a field or a module, with its file."""
    defined_names = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text())
        defined_names.add((path.stem, place))
        for node in ast.walk(tree):
            match node:
                case ast.ClassDef(name=name, body=body):
                    fields = (field.target for field in body if isinstance(field, ast.AnnAssign))
                    defined_names |= {
                        (name, place),
                        *((field.id, place) for field in fields if isinstance(field, ast.Name)),
                    }
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    defined_names.add((name, place))
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    defined_names.add((name, place))
    return defined_names


@pytest.mark.parametrize(("term", "path", "marked"), [(term, path, marked) for term, _, path, marked in ROWS])
def test_a_term_is_in_the_code_where_the_glossary_says(term, path, marked):
    text = (ROOT / path).read_text()

    assert [] == [name for name in re.findall(r"\w+", marked) if not re.search(rf"\b{name}\b", text)]


def test_every_row_of_the_glossary_is_read():
    lines = (ROOT / "docs/glossary.md").read_text().splitlines()
    terms = [line for line in lines if line.startswith("| ") and not line.startswith("| term ")]

    assert len(terms) == len(ROWS)


def test_every_term_has_its_meaning_in_a_sentence():
    assert [] == [term for term, meaning, *_ in ROWS if not meaning.strip().endswith((".", ")."))]


def test_no_term_is_explained_twice():
    terms = [term.lower() for term, *_ in ROWS]

    assert sorted(set(terms)) == sorted(terms)


def test_replaced_names_are_used_no_more():
    left = {
        f"{old} in {place}: {new}"
        for (old, *places), new in REPLACED.items()
        for name, place in names()
        if name == old and (not places or place.startswith(tuple(places)))
    }

    assert set() == left
