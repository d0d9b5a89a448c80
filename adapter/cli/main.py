"""`p2ptrade`: the table of commands.

A command's module is imported when the command runs, so that help and short commands start fast.
Exit codes: 0 fine, 1 findings or refusal, 2 wrong usage. Source: interfaces, section 2.
"""

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core

from adapter.cli.output import complain
from adapter.cli.parameters import use_plain_values
from adapter.domain.errors import AdapterError

COMMANDS = {
    "serve": "Run one node.",
    "demo": "Run one whole trade between four nodes on this machine.",
    "keys": "Make and show Ed25519 key files and bearer tokens.",
    "sign": "Print the Authorization header for a file.",
    "verify": "Check an Authorization header against a file.",
    "contracts": "Call the contract layer of a node, read its events and state.",
    "ledger": "Recompute a journal from its first entry.",
    "doctor": "Check what a node needs, one line each.",
    "validate": "Check message files against schemas and rules of the contract.",
    "explain": "Show roles, revenue flows, net positions and trade cap of a contract.",
    "clear": "Clear one order book: price, volume, who trades with whom.",
    "clear-curves": "Clear offer curves: one price, the power of every prosumer.",
    "schema": "List, show, check and bundle the schemas of messages and contracts.",
}
"""Name and help; module `adapter.cli.<name>`, `_` for `-`, holds a typer application `app`."""


class LazyGroup(typer.core.TyperGroup):
    """A group that imports a command when it is called, not when it is listed."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return a command, None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"adapter.cli.{cmd_name.replace('-', '_')}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def shell_complete(  # type: ignore[override]
        self, ctx: typer.Context, incomplete: str
    ) -> list[Any]:
        """Return the names that begin so without importing the commands."""
        from typer._click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names or super().shell_complete(ctx, incomplete)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


use_plain_values()

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # 35 ms that no other command needs

        typer.echo(f"p2ptrade {version('p2ptrade')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Peer-to-peer energy trades over Beckn: nodes, contract layer and tools."""


def main() -> None:
    """Run the command line and exit."""
    try:
        app(prog_name="p2ptrade")
    except AdapterError as error:
        complain(f"{error.code}: {error.message}")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads on; Python would complain at its end
        sys.exit(1)
