"""The command ``tokamac``. Each module in this package adds its subcommands by being here.

A module ``sw/cli/<name>.py`` has either ``command``, a function that becomes the subcommand
``<name>``, or ``register(app)``, which adds what it likes to the Typer application. Modules import
what is slow to import inside their functions, because all of them are read at each start.
"""

import importlib
import pkgutil
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from sw.errors import UserError
from sw.toolenv import activate


__all__ = ["main", "application"]


def show_version(wanted):
    if wanted:
        typer.echo(f"tokamac {version('tokamac')}")
        raise typer.Exit


def options(
    debug: Annotated[bool, typer.Option(
        "--debug", help="Show where an error came from.")] = False,
    version: Annotated[bool, typer.Option(
        "--version", help="Print the version.", callback=show_version, is_eager=True)] = False,
):
    """Generate, simulate and program accelerators for language models."""


def application():
    """The Typer application with every subcommand."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                      pretty_exceptions_enable=False)
    app.callback()(options)
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        if hasattr(module, "register"):
            module.register(app)
        elif hasattr(module, "command"):
            app.command(found.name)(module.command)
    return app


def main(arguments=None):
    """Run ``tokamac``; a mistake of the user's ends it with one sentence and exit code 1."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:
        # It may stand anywhere on the line.
        arguments.remove("--debug")
    activate()
    try:
        application()(arguments, prog_name="tokamac")
    except (UserError, TypeError, ValueError, OSError) as error:
        if debug:
            raise
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"error: {error}", markup=False, style="red")
        if not isinstance(error, UserError):
            console.print("(tokamac --debug ... shows where)", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
