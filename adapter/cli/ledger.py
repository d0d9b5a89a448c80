"""`p2ptrade ledger`: recompute a journal from its first entry."""

import os
from pathlib import Path
from typing import Annotated

import typer

from adapter.cli.output import FINDINGS, misuse, refuse, say, say_json
from adapter.settings import DatabaseUrl, SettingsError, load_settings
from adapter.store.audit import Audit, audit_sqlite
from adapter.store.errors import StoreError

VARIABLE = "P2PTRADE_DATABASE__URL"
DEFAULT_CONFIG = Path("node.yaml")

app = typer.Typer(
    help="Recompute a journal from its first entry.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def ledger() -> None:
    """Recompute a journal from its first entry."""


@app.command()
def verify(
    database: Annotated[
        str | None,
        typer.Option(help=f"URL of a node's database; ${VARIABLE}, or that of --config."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help=f"node.yaml of the node; {DEFAULT_CONFIG}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Recompute chain, postings and balances; name the first bad entry. A live node may go on."""
    try:
        audit = audit_sqlite(_path(database, config))
    except StoreError as error:
        refuse(error.message)
    if as_json:
        say_json(_document(audit))
    else:
        _tell(audit)
    if not audit.verdict.ok:
        raise typer.Exit(FINDINGS)


def _path(database: str | None, config: Path | None) -> Path:
    """Return the database file; end with exit code 2 when none is named, or another kind."""
    text = database or (None if config else os.environ.get(VARIABLE))
    try:
        if text is not None:
            url = DatabaseUrl.parse(text)
        elif config is not None or DEFAULT_CONFIG.is_file():
            url = load_settings(config or DEFAULT_CONFIG).database.url
        else:
            misuse(f"which database? --database URL, --config FILE or ${VARIABLE}")
    except SettingsError as error:
        refuse(str(error))
    except ValueError:
        misuse("--database is not sqlite:///relative or sqlite:////absolute")
    if url.path is None:
        misuse("--database: this release keeps its state in SQLite: sqlite:///var/node.db")
    return url.path


def _tell(audit: Audit) -> None:
    verdict = audit.verdict
    say(f"entries       {verdict.entries}")
    say(f"head          {verdict.head}")
    say(f"journal root  {audit.journal_root}")
    say(f"state root    {verdict.state_root}")
    if verdict.ok:
        say("verified      sequence, chain, postings and balances agree with a replay")
    else:
        say(f"first bad     entry {verdict.bad_seq}: {verdict.why}")


def _document(audit: Audit) -> dict[str, object]:
    verdict = audit.verdict
    document: dict[str, object] = {
        "ok": verdict.ok,
        "entries": verdict.entries,
        "head": verdict.head,
        "journal_root": audit.journal_root,
        "state_root": verdict.state_root,
    }
    if not verdict.ok:
        document |= {"bad_seq": verdict.bad_seq, "why": verdict.why}
    return document
