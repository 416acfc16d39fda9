"""`routines quotas`: how much of its quotas each company uses."""

from uuid import UUID

import click
import msgspec
import psycopg

from domain.bounds.limits import Limits
from projections import usage
from routines import bootstrap
from routines.commands import entry

PER_MINUTE = ("max_company_events_per_minute", "max_company_bytes_per_minute")
NEAR = 0.8


class Usage(msgspec.Struct, frozen=True):
    """How much of a quota a company uses."""

    company_id: UUID
    company: str
    quota: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        return self.used / self.limit if self.limit else 0.0  # 0: there is no limit


@click.command()
@click.option("--company", type=click.UUID, help="Of this company only, whatever it uses.")
@click.option("--all", "everything", is_flag=True, help="All that is used, not only what is used to 80 % or more.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line: company_id, company, quota, used, limit."
)
def quotas(company: UUID | None, *, everything: bool, as_json: bool) -> None:
    """
    Show which companies are near a quota, the nearest first.

    A quota is how much one company may record in a minute, how much it may keep on disk, or how many of a thing it may
    have: `docs/limits.md` lists them. Who is over one is answered 429 or 422, and its schedules are recorded as missed (over_quota). Metrics count
    that: routines_quota_refusals_total, routines_quota_near_companies and routines_missed_occurrences_total.

    \b
    Raise a quota for all companies by its variable, then restart:
        ROUTINES_MAX_COMPANY_ROUTINES=20000

    The last minute is read from the log, so it is of all processes together, each of which counts for itself.
    """  # noqa: D301 the \b is click's
    with bootstrap.system(entry.settings()) as system, system.pool.connection() as conn:
        found = used(conn, system.settings.limits)
    if company is not None:
        found = [one for one in found if one.company_id == company]
    elif not everything:
        found = [one for one in found if one.share >= NEAR]
    for one in sorted(found, key=lambda one: one.share, reverse=True):
        click.echo(msgspec.json.encode(one) if as_json else line(one))
    if not found and not as_json:
        click.echo("No company is near a quota." if company is None else "The company uses none of its quotas.")


def used(conn: psycopg.Connection[tuple[object, ...]], limits: Limits) -> list[Usage]:
    """What each company uses of each quota, in no order."""
    names = usage.companies(conn)
    amounts = {quota: usage.counts(conn, quota) for quota in usage.OF_COMPANY}
    recorded = usage.last_minute(conn)
    for place, quota in enumerate(PER_MINUTE):
        amounts[quota] = {company_id: both[place] for company_id, both in recorded.items()}
    return [
        Usage(company_id=id_, company=names[id_], quota=quota, used=amount, limit=getattr(limits, quota))
        for quota, by_company in amounts.items()
        for id_, amount in by_company.items()
        if id_ in names
    ]


def line(one: Usage) -> str:
    name = "".join(char if char.isprintable() else "?" for char in one.company)
    return f"{one.share:>6.0%}  {one.used:>12,} of {one.limit:>12,}  {one.quota:<32} {name} ({one.company_id})"
