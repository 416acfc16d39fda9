"""`routines secrets`: shows under which keys the secrets are encrypted, and changes the key."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from application.secrets.key_ring import CannotRetire, KeyRing
from application.secrets.vault import Vault
from application.use_cases import needed_secrets
from routines import bootstrap
from routines.bootstrap import System
from routines.commands import terminal
from routines.commands.database import with_database
from routines.local.data_directory import DATA_DIR, DataDirectory, NotRunning, read_state
from routines.settings import KEY_VARIABLE, Settings

BATCH = 1_000  # secrets that one transaction encrypts anew
OTHERS_AT_WORK_S = 0.1  # pause while another process holds the secrets that are left


@click.group()
def secrets() -> None:
    """
    Show which keys encrypt the stored secrets, and change the key.

    Secrets that the service must be able to read are in the database, encrypted with AES-256. The keys are not in the
    database: they are in the file that ROUTINES_KEY_FILE names (DATA_DIR/secret.keys for `routines up`). It has one
    `<key id> <base64 of 32 bytes>` a line, the current key first, and its mode is 0600. Keep a copy of the file apart
    from the backups of the database. If the file is lost, these secrets must be set again: secrets of webhooks whose
    caller signs, secrets of webhook endpoints, heartbeats and callbacks, secret parameters of routines, environment
    variables of collections. Nothing else is lost.

    \b
    To change the key while everything runs:
        routines secrets rotate-key
        routines secrets status
        routines secrets retire-key OLD_KEY
    If a key is lost, set its secrets again, and then:
        routines secrets forget LOST_KEY
    Without ROUTINES_DATABASE_URL and ROUTINES_KEY_FILE, the database and the key file are those of `routines up`.
    """  # noqa: D301 the \b is click's


@secrets.command()
@with_database()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
def status(*, as_json: bool, settings: Settings) -> None:
    """
    Show how many secrets are under each key.

    If a key that is in use is missing from the file, its secrets cannot be read: put the key back.
    """
    with _open_vault(settings) as vault:
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
@with_database()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, for scripts.")
def rotate_key(*, as_json: bool, settings: Settings) -> None:
    """
    Put every secret under a new key, while everything runs.

    The command puts a new key at the front of the key file, and then encrypts all secrets under older keys with it, in
    small batches. All processes read the new file by themselves. The command ends when no secret is under an older key
    of the file.

    Interrupted? Run it again: while secrets are under older keys it makes no further key, but goes on. So you can also
    make the key yourself, where each machine has a key file of its own or the file is read-only: append the new key to
    every file, then move it to the front of every file, then run this command.

    Old keys stay in the file until `routines secrets retire-key`. Keep copies of them as long as you keep backups of
    the database from before the rotation.

    \b
    Exit status: 1 if secrets remain under keys that are not in the file, else 0.
    """  # noqa: D301 the \b is click's
    with _open_vault(settings) as vault:
        going_on = _under_older_keys(vault) > 0
        current = vault.ring.ids()[0] if going_on else vault.add_key()
        if not as_json:
            terminal.echo(f"The current key is {current}" + (", as before: going on" if going_on else ", a new one"))
        secret_count = _encrypt_anew(vault, quiet=as_json)
        ids, in_use = vault.ring.ids(), vault.keys_in_use()
    retirable = [id_ for id_ in ids[1:] if id_ not in in_use]
    missing = sorted(in_use.keys() - set(ids))
    if as_json:
        outcome = {"current": current, "new": not going_on, "encrypted": secret_count, "retirable": retirable}
        terminal.echo_json({**outcome, "missing": missing})
    else:
        terminal.echo(f"{secret_count} secrets were put under it.")
        for id_ in retirable:
            terminal.echo(f"No secret needs {id_} any more: routines secrets retire-key {id_}")
    for id_ in missing:
        terminal.echo(f"{in_use[id_]} secrets are under {id_}, which is not in the key file: put it back", err=True)
    sys.exit(int(bool(missing)))


@secrets.command("retire-key")
@with_database()
@click.argument("key_id")
def retire_key(key_id: str, *, settings: Settings) -> None:
    """
    Remove an old key from the key file.

    This is refused for the current key, and while a secret is under the key. Backups of the database from before the
    rotation still need the key: keep a copy of it as long as you keep them.
    """
    with _open_vault(settings) as vault:
        vault.retire_key(key_id)
    terminal.echo(f"{key_id} is no longer in the key file.")


@secrets.command()
@with_database()
@click.argument("key_id")
def forget(key_id: str, *, settings: Settings) -> None:
    """
    Delete the secrets under a key that is no longer in the key file, if nothing needs them.

    Some may be left when all others have been set again: those that were being replaced or deleted at the moment in
    which the database went away. Until they are gone, health says that their key is missing. The command refuses while
    anything needs one of these secrets, and says how many and for what: set those again, or delete what they belong to.
    """
    with _open_system(settings) as system:
        vault = system.vault
        if key_id in vault.ring.ids():
            raise CannotRetire(f"Key {key_id} is in {vault.ring.path}, so its secrets can be read: retire it")
        if not (places := vault.places_under(key_id)):
            raise CannotRetire(f"No secret is under key {key_id}")
        if needed_places := system.executor.query(lambda work: needed_secrets.find_needed(work, places)):
            purposes = Counter(place.purpose for place in needed_places)
            summary = ", ".join(f"{secret_count} of {purpose}" for purpose, secret_count in sorted(purposes.items()))
            raise CannotRetire(
                f"{len(needed_places)} of {len(places)} secrets under key {key_id} are needed ({summary}): set them again, or delete "
                "what they belong to"
            )
        vault.drop([place.id for place in places])
    terminal.echo(f"{len(places)} secrets that nothing needs were deleted; none is under {key_id} any more.")


@secrets.command("new-file")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_DIR,
    show_default=True,
    help="The data directory of `routines up`, whose key file it is unless ROUTINES_KEY_FILE names another.",
)
def new_file(data_dir: Path) -> None:
    """
    Make a new key file in place of one that is lost for good.

    Without the lost keys, the secrets under them can never be read again: each must be set again or deleted (see
    `routines secrets --help` for what these are). Until then health says which keys are missing. The command makes the
    file that ROUTINES_KEY_FILE names, or else that of the data directory, and refuses if there is one. The processes
    use it at once.
    """
    ring = KeyRing(os.environ.get(KEY_VARIABLE) or _key_file_in(data_dir))
    if not ring.create():
        raise click.ClickException(f"{ring.path} is there: it holds keys, so it is not replaced")
    terminal.echo(f"{ring.path} holds the new key {ring.ids()[0]}: keep a copy apart from the database's.")


def _key_file_in(data_dir: Path) -> Path:
    """Return the key file of the `routines up` of a data directory, which need not run: it refuses to without keys."""
    try:
        return Path(read_state(data_dir).key_file)
    except NotRunning:
        place = DataDirectory(data_dir)
    if not place.directory.is_dir():
        raise click.ClickException(
            f"Which file? No `routines up` has run in {place.directory}: name its --data-dir, or set {KEY_VARIABLE}"
        )
    return place.keys


@contextmanager
def _open_vault(settings: Settings) -> Iterator[Vault]:
    with _open_system(settings) as system:
        yield system.vault


@contextmanager
def _open_system(settings: Settings) -> Iterator[System]:
    if not settings.key_file:
        raise click.ClickException(
            "ROUTINES_KEY_FILE is not set: which file holds the keys? See routines secrets --help"
        )
    with bootstrap.system(settings) as system:
        yield system


def _encrypt_anew(vault: Vault, *, quiet: bool) -> int:
    """Encrypt until no secret is under an older key of the ring; return how many this process has encrypted."""
    total, encrypted_count = _under_older_keys(vault), 0
    console = Console(stderr=True)
    with _open_progress(console, hidden=quiet or not console.is_terminal) as bars:
        bar = bars.add_task("secrets", total=total)
        while (secret_count := vault.reseal(BATCH)) or _under_older_keys(vault):
            encrypted_count += secret_count
            bars.update(bar, completed=encrypted_count)
            if not quiet and not console.is_terminal:
                terminal.echo(f"{encrypted_count} of {total}")
            if not secret_count:
                time.sleep(OTHERS_AT_WORK_S)
    return encrypted_count


def _under_older_keys(vault: Vault) -> int:
    in_use = vault.keys_in_use()
    return sum(in_use.get(id_, 0) for id_ in vault.ring.ids()[1:])


def _open_progress(console: Console, *, hidden: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=hidden)
