"""The `routines` command: one command for each process and for each task of an operator."""

import click

from routines.commands.group import Group

# Where each command is found: as the variable of its name.
MODULES = {
    "audit": "routines.commands.audit",
    "auditor-key": "routines.commands.init",
    "board-key": "routines.commands.init",
    "delivery": "routines.commands.delivery",
    "demo": "routines.demo.cli",
    "erase": "routines.commands.erase",
    "export": "routines.commands.export",
    "init": "routines.commands.init",
    "log": "routines.commands.log",
    "projections": "routines.commands.projections",
    "projector": "routines.commands.projector",
    "quotas": "routines.commands.quotas",
    "scheduler": "routines.commands.scheduler",
    "secrets": "routines.commands.secrets",
    "untaken": "routines.commands.untaken",
    "up": "routines.commands.up",
    "web": "routines.commands.web",
    "worker": "routines.worker.cli",
}


@click.group(
    cls=Group,
    modules=MODULES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="routines", prog_name="routines")
def main() -> None:
    """
    Run recurring work for AI agents, and keep a record of every run.

    \b
    Start here:   routines up       runs everything on this machine, Postgres included
                  routines demo     shows how a schedule fires; run it in another terminal
    To run the processes one by one, with your own Postgres (ROUTINES_DATABASE_URL):
                  routines init, then routines web | scheduler | projector | delivery
    """  # noqa: D301 the \b is click's
