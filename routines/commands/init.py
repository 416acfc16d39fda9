"""`routines init`, `routines board-key` and `routines auditor-key`: a database made ready, and the tokens of its users."""

from collections.abc import Sequence
from uuid import UUID

import click
import psycopg

from domain.identity import FIRST_USER
from routines import bootstrap
from routines.commands import entry, terminal
from routines.commands.database import with_database
from routines.settings import Settings


@click.command()
def init() -> None:
    """
    Prepare the database of ROUTINES_DATABASE_URL: roles, event log, read models, first board token.

    The database user must be allowed to create roles; this is needed once per version, and after a restore: what a dump
    does not hold (roles, owners, rights) is made whole. The first time, the command prints the token of the first board
    user. It brings a database of an older version to this version, and does not touch one that a newer version has
    written. If this version stores a read model differently, its projector rebuilds that model and the old rows are
    shown meanwhile: see docs/upgrading.md. If ROUTINES_KEY_FILE names a file that does not exist, the command makes it,
    unless secrets in the database need the one that is missing: see `routines secrets --help`.
    """
    settings = entry.settings()
    entry.tell_ignored_settings()
    outdated_models = bootstrap.prepare(settings)
    tell_missing_keys(settings)
    new_keys = settings.key_file is not None and bootstrap.make_keys(settings.key_file)
    token = bootstrap.first_board_token(settings)
    click.echo("The database is ready.")
    tell_outdated(outdated_models)
    if new_keys:
        terminal.echo(
            f"The keys of the secrets are new, in {settings.key_file}: keep a copy apart from the database's."
        )
    if token:
        terminal.echo(f"Board token (shown this once): {token}")


@click.command("board-key")
@with_database(is_owner=True)
@click.option("--name", default="command line", show_default=True, help="A name that says what the key is for.")
@click.option(
    "--user",
    "user_id",
    type=click.UUID,
    default=FIRST_USER,
    show_default="the first user",
    help="The id of the user who gets the key.",
)
def board_key(name: str, user_id: UUID, *, settings: Settings) -> None:
    """
    Mint a further board token, for a user whose token is lost or has expired.

    The URL must log in as the owner of the database, as for `routines init`: the log does not let the service itself
    give anybody a key of somebody else. The database of `routines up` is entered as its owner. `routines audit grants`
    shows such keys.
    """
    with bootstrap.system(settings) as system:
        try:
            click.echo(bootstrap.another_board_token(system, name, user_id))
        except psycopg.errors.InsufficientPrivilege as error:
            text = "Only the database's owner may give somebody a key: use the URL that `routines init` needs"
            raise click.ClickException(text) from error


@click.command("auditor-key")
@with_database(is_owner=True)
@click.option("--name", required=True, help="The name of the auditor, which is on the record.")
def auditor_key(name: str, *, settings: Settings) -> None:
    """
    Register an auditor of the whole installation, and print a board token for them.

    Auditors read everything, the events of all companies included, and change nothing (docs/audit.md). `routines board-key
    --user` mints a further token. The URL must log in as the owner of the database, as for `routines init`: the log does
    not let the service itself make auditors. `routines audit grants` shows them.
    """
    with bootstrap.system(settings) as system:
        try:
            auditor = bootstrap.auditor_key(system, name)
        except psycopg.errors.InsufficientPrivilege as error:
            text = "Only the database's owner may make somebody an auditor: use the URL that `routines init` needs"
            raise click.ClickException(text) from error
    click.echo(auditor)


def tell_outdated(names: Sequence[str]) -> None:
    """Say which read models the projector has to rebuild."""
    if names:
        terminal.echo(
            f"The projector of this version rebuilds {', '.join(names)}; `routines projections status` shows how far it is."
        )


def tell_missing_keys(settings: Settings) -> None:
    """Say which secrets cannot be read. Raises VaultClosed when the whole key file is missing."""
    if missing := bootstrap.check_keys(settings):
        terminal.echo(
            f"WARNING: secrets are encrypted under {', '.join(missing)}, which is not in {settings.key_file}: they cannot "
            "be read until that key is put back; `routines secrets status` counts them."
        )
