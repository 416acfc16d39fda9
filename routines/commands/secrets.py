"""`routines secrets`: under which keys the secrets are, and how to change the key."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from application.secrets.key_ring import CannotRetire, VaultClosed
from application.secrets.vault import Vault
from routines import bootstrap
from routines.commands import entry, terminal

BATCH = 1_000  # secrets that one transaction puts under another key
OTHERS_AT_WORK_S = 0.1  # pause while another process holds the secrets that are left


@click.group()
def secrets() -> None:
    """
    Secrets that are kept: which keys they are under; change the key.

    Secrets that we must be able to read are in the database encrypted with AES-256. The keys are not: they are in the
    file that ROUTINES_KEY_FILE names (DATA_DIR/secret.keys of `routines up`), one `<key id> <base64 of 32 bytes>` a
    line, mode 0600, the current key first. Keep a copy of it apart from the backups of the database: without it
    all of these must be given anew, and nothing else is lost: secrets of webhooks whose caller signs, of webhook
    endpoints, heartbeats and callbacks, secret parameters of routines, environment variables of collections.

    \b
    To change the key while everything runs:
        routines secrets rotate-key
        routines secrets status
        routines secrets retire-key OLD_KEY
    With `routines up`, ROUTINES_DATABASE_URL and ROUTINES_KEY_FILE are in DATA_DIR/up.json.
    """  # noqa: D301 the \b is click's


@secrets.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(*, as_json: bool) -> None:
    """
    How many secrets are under each key.

    A key in use that is missing from the file is a fault: its secrets cannot be read. Put it back.
    """
    with _vault() as vault:
        ids, in_use = vault.ring.ids(), vault.keys_in_use()
    missing = sorted(in_use.keys() - set(ids))
    if as_json:
        keys = [{"id": id_, "secrets": in_use.get(id_, 0)} for id_ in [*ids, *missing]]
        terminal.echo_json({"current": ids[0], "missing": missing, "keys": keys})
        return
    table = Table("Key", "Secrets", "")
    notes = {ids[0]: "current"} | dict.fromkeys(missing, "not in the key file")
    for id_ in [*ids, *missing]:
        table.add_row(
            terminal.cell(id_), str(in_use.get(id_, 0)), notes.get(id_, "in use" if id_ in in_use else "may be retired")
        )
    Console().print(table)


@secrets.command("rotate-key")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object at the end.")
def rotate_key(*, as_json: bool) -> None:
    """
    Put every secret under a new key, while everything runs.

    Puts a new key in front of the key file, and then encrypts in small batches what is under older ones. All
    processes take up the new file by themselves. Ends when no secret is under an older key of the file.

    Interrupted? Run it again: while secrets are under older keys it makes no further key, but goes on. So, where
    machines have key files of their own or the file is read-only, make the first line yourself: append the new key to
    every file, then move it to the front of every file, then run this.

    Old keys stay in the file until `routines secrets retire-key`. Keep their copies as long as you keep backups of
    the database from before.

    \b
    Exit status: 1 if secrets are left under keys that are not in the file.
    """  # noqa: D301 the \b is click's
    with _vault() as vault:
        going_on = _under_older_keys(vault) > 0
        current = vault.ring.ids()[0] if going_on else vault.add_key()
        if not as_json:
            terminal.echo(f"The current key is {current}" + (", as before: going on" if going_on else ", a new one"))
        many = _encrypt_anew(vault, quiet=as_json)
        ids, in_use = vault.ring.ids(), vault.keys_in_use()
    retirable = [id_ for id_ in ids[1:] if id_ not in in_use]
    missing = sorted(in_use.keys() - set(ids))
    if as_json:
        outcome = {"current": current, "new": not going_on, "encrypted": many, "retirable": retirable}
        terminal.echo_json({**outcome, "missing": missing})
    else:
        terminal.echo(f"{many} secrets were put under it.")
        for id_ in retirable:
            terminal.echo(f"No secret needs {id_} any more: routines secrets retire-key {id_}")
    for id_ in missing:
        terminal.echo(f"{in_use[id_]} secrets are under {id_}, which is not in the key file: put it back", err=True)
    sys.exit(int(bool(missing)))


@secrets.command("retire-key")
@click.argument("key_id")
def retire_key(key_id: str) -> None:
    """
    Take an old key out of the key file.

    Refused for the current key, and while a secret is under it. A backup of the database from before the rotation
    still needs it: keep its copy as long.
    """
    with _vault() as vault:
        vault.retire_key(key_id)
    terminal.echo(f"{key_id} is no longer in the key file.")


@contextmanager
def _vault() -> Iterator[Vault]:
    settings = entry.settings()
    if settings.key_file is None:
        raise click.ClickException(
            "ROUTINES_KEY_FILE is not set: which file holds the keys? See routines secrets --help"
        )
    try:
        with bootstrap.system(settings) as system:
            yield system.vault
    except (VaultClosed, CannotRetire, psycopg.Error) as error:
        raise terminal.Trouble(str(error)) from error


def _encrypt_anew(vault: Vault, *, quiet: bool) -> int:
    """Encrypt until no secret is under an older key of the ring; return how many this process has encrypted."""
    total, done = _under_older_keys(vault), 0
    console = Console(stderr=True)
    with _progress(console, hidden=quiet or not console.is_terminal) as bars:
        bar = bars.add_task("secrets", total=total)
        while (many := vault.reseal(BATCH)) or _under_older_keys(vault):
            done += many
            bars.update(bar, completed=done)
            if not quiet and not console.is_terminal:
                terminal.echo(f"{done} of {total}")
            if not many:
                time.sleep(OTHERS_AT_WORK_S)
    return done


def _under_older_keys(vault: Vault) -> int:
    in_use = vault.keys_in_use()
    return sum(in_use.get(id_, 0) for id_ in vault.ring.ids()[1:])


def _progress(console: Console, *, hidden: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=hidden)
