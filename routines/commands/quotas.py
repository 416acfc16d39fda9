"""`routines quotas`: shows how much of its quotas each company uses."""

from uuid import UUID

import click
import msgspec
import psycopg

from domain.bounds.limits import Limits
from projections import usage
from routines import bootstrap
from routines.commands.database import with_database
from routines.settings import Settings

PER_MINUTE = ("max_company_events_per_minute", "max_company_bytes_per_minute")
NEAR = 0.8  # share of a quota from which on it is listed


class Usage(msgspec.Struct, frozen=True):
    """How much of one quota a company uses: entities, bytes, or events of the last minute."""

    company_id: UUID
    company: str
    quota: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        """The used part of the quota, from 0 to 1 or above; 0 when there is no limit."""
        return self.used / self.limit if self.limit else 0.0


@click.command()
@with_database()
@click.option("--company", type=click.UUID, help="Show this company only, by its id, with everything that it uses.")
@click.option(
    "--all", "everything", is_flag=True, help="Show every quota in use, not only those that are used to 80 % or more."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line: company_id, company, quota, used, limit."
)
def quotas(company: UUID | None, *, everything: bool, as_json: bool, settings: Settings) -> None:
    """
    Show which companies are near a quota, the nearest first.

    A quota is how much one company may record in a minute, how much it may keep on disk, or how many of a thing it may
    have; `docs/limits.md` lists all quotas. Requests of a company over a quota are answered 429 or 422, and its
    schedules are recorded as missed (over_quota). Metrics count this: routines_quota_refusals_total,
    routines_quota_near_companies and routines_missed_occurrences_total.

    \b
    To raise a quota for all companies, set its variable and restart:
        ROUTINES_MAX_COMPANY_ROUTINES=20000

    The use of the last minute is read from the log, so it covers all processes together. For its refusals, each process
    counts by itself.
    """  # noqa: D301 the \b is click's
    with bootstrap.connect(settings) as conn:
        usages = read_usages(conn, settings.limits)
    if company is not None:
        usages = [row for row in usages if row.company_id == company]
    elif not everything:
        usages = [row for row in usages if row.share >= NEAR]
    for row in sorted(usages, key=lambda row: row.share, reverse=True):
        click.echo(msgspec.json.encode(row) if as_json else line(row))
    if not usages and not as_json:
        click.echo("No company is near a quota." if company is None else "The company uses none of its quotas.")


def read_usages(conn: psycopg.Connection[tuple[object, ...]], limits: Limits) -> list[Usage]:
    """Return what each company uses of each quota, in no order."""
    names = usage.companies(conn)
    amounts = {quota: usage.counts(conn, quota) for quota in usage.OF_COMPANY}
    recorded = usage.last_minute(conn)
    for index, quota in enumerate(PER_MINUTE):
        amounts[quota] = {company_id: pair[index] for company_id, pair in recorded.items()}
    return [
        Usage(company_id=id_, company=names[id_], quota=quota, used=amount, limit=getattr(limits, quota))
        for quota, by_company in amounts.items()
        for id_, amount in by_company.items()
        if id_ in names
    ]


def line(row: Usage) -> str:
    """Return the usage as a line for people; unprintable characters of the company's name become `?`."""
    name = "".join(char if char.isprintable() else "?" for char in row.company)
    return f"{row.share:>6.0%}  {row.used:>12,} of {row.limit:>12,}  {row.quota:<32} {name} ({row.company_id})"
