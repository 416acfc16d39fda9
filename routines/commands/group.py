"""The group of all commands."""

import contextlib
import gc
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from routines.commands.terminal import CommandError


class Group(click.Group):
    """
    Commands that end with a sentence when something outside of the program has failed.

    The module of a command is imported when the command is asked for, so that none waits for what only others need.
    """

    def __init__(self, *arguments: Any, modules: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click passes it
        """Return the names of all commands."""
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or None."""
        if cmd_name in self._modules and cmd_name not in self.commands:
            module = _import(self._modules[cmd_name])
            self.add_command(getattr(module, cmd_name.replace("-", "_")), cmd_name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Raises CommandError, which click prints, in place of an error that has a sentence."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # what fails here is told as well, and not at the end by Python
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except Exception as error:
            from routines.commands import failures  # noqa: PLC0415 it knows the errors of all libraries

            if (text := failures.explain(error)) is None:
                raise
            if isinstance(error, OSError):
                _drop_output()
            raise CommandError(text) from error
        return result


def _drop_output() -> None:
    """Write the rest of standard output to nowhere: where its disk is full, Python would end with a further error."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _import(name: str) -> ModuleType:
    """Return the module of a command. All that is imported stays, so nobody looks for garbage in it meanwhile."""
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.enable()
