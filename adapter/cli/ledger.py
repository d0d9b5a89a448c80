"""`p2ptrade ledger`: recompute a journal from its first entry, prove a trade, check a proof."""

import os
from pathlib import Path
from typing import Annotated

import typer

from adapter.cli.output import FINDINGS, misuse, refuse, say, say_json
from adapter.settings import DatabaseUrl, SettingsError, load_settings
from adapter.settlement import ProofError, Proven, check_proof
from adapter.store.audit import Audit, audit_database, audit_lines, prove_in
from adapter.store.audit_roots import read_roots
from adapter.store.errors import StoreError

VARIABLE = "P2PTRADE_DATABASE__URL"
DEFAULT_CONFIG = Path("node.yaml")

app = typer.Typer(
    help="Recompute a journal from its first entry; prove a trade and check a proof.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def ledger() -> None:
    """Recompute a journal from its first entry; prove a trade and check a proof."""


Database = Annotated[
    str | None, typer.Option(help=f"URL of a node's database; ${VARIABLE}, or that of --config.")
]
Config = Annotated[Path | None, typer.Option(help=f"node.yaml of the node; {DEFAULT_CONFIG}.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def verify(
    database: Database = None,
    config: Config = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="Without a database: lines of GET /contracts/journal, in a file."),
    ] = None,
    roots: Annotated[
        Path | None, typer.Option(help="With --journal: answer of GET /contracts/roots.")
    ] = None,
    statement: Annotated[
        Path | None,
        typer.Option(help="A signed statement kept elsewhere, which shows what was cut off."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute chain, blocks, postings, balances and roots; name the first bad entry.

    A live node may go on meanwhile.
    """
    if roots is not None and journal is None:
        misuse("--roots goes with --journal; a database holds its own")
    if journal is not None and (database is not None or config is not None):
        misuse("--journal goes without a database")
    try:
        others = [] if statement is None else read_roots(_read(statement))
        if journal is not None:
            given = [] if roots is None else read_roots(_read(roots))
            audit = audit_lines(_read(journal).splitlines(), [*given, *others])
        else:
            audit = audit_database(_database(database, config), others)
    except StoreError as error:
        refuse(error.message)
    if as_json:
        say_json(_document(audit))
    else:
        _tell(audit)
    if not audit.verdict.ok:
        raise typer.Exit(FINDINGS)


@app.command()
def prove(
    trade_id: Annotated[str, typer.Argument(help="A spot trade, or an agreement's contractId.")],
    database: Database = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="It is JSON in any case.")] = False,
) -> None:
    """Print the proof of a trade, for whoever has the public key of the ledger's host."""
    del as_json
    try:
        bundle = prove_in(_database(database, config), trade_id)
    except StoreError as error:
        refuse(error.message)
    except ProofError as error:
        refuse(str(error))
    say(bundle.decode())


@app.command("check-proof")
def check_bundle(
    file: Annotated[Path, typer.Argument(help="What `ledger prove` has printed.")],
    public_key: Annotated[
        str, typer.Option(help="Of the ledger's host, base64: `keys show` or the registry.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check a proof offline, with the public key of the ledger's host alone."""
    bundle = _read(file).removesuffix(b"\n")
    try:
        proven = check_proof(bundle, public_key)
    except ProofError as error:
        if as_json:
            say_json({"ok": False, "why": str(error)})
        else:
            say(f"not proven    {error}")
        raise typer.Exit(FINDINGS) from None
    if as_json:
        say_json(_proven(proven))
    else:
        _tell_proven(proven)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        misuse(f"{file} cannot be read: {error.strerror}")


def _database(database: str | None, config: Path | None) -> Path | str:
    """Return a SQLite file or a PostgreSQL URL; end with exit code 2 when none is named."""
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
        misuse("--database is not sqlite:///relative, sqlite:////absolute or postgresql://…")
    return url.url if url.path is None else url.path


def _tell(audit: Audit) -> None:
    verdict = audit.verdict
    say(f"entries       {verdict.entries}")
    say(f"head          {verdict.head}")
    say(f"journal root  {audit.journal_root}")
    say(f"state root    {verdict.state_root}")
    if verdict.ok:
        say("verified      sequence, chain, blocks, postings and balances agree with a replay")
        say(f"statements    {verdict.roots} signed, in agreement with it")
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
        "signed_statements": verdict.roots,
    }
    if not verdict.ok:
        document |= {"bad_seq": verdict.bad_seq, "why": verdict.why}
    return document


def _proven(proven: Proven) -> dict[str, object]:
    return {
        "ok": True,
        "kind": proven.kind,
        "id": proven.id,
        "statements": [
            {
                "last_epoch": root.statement.last_epoch,
                "hash": root.statement.hash,
                "countersigned_by": [one.key_id for one in root.countersignatures],
            }
            for root in proven.statements
        ],
        "derived": dict(proven.derived),
    }


def _tell_proven(proven: Proven) -> None:
    say(f"proven        {proven.kind} {proven.id}")
    for name, value in proven.derived.items():
        for part in value if isinstance(value, list) else [value]:
            shown = part
            if isinstance(part, dict):
                shown = " ".join(f"{key}={text}" for key, text in part.items())
            say(f"  {name:<11} {shown}")
    for root in proven.statements:
        signers = ", ".join(one.key_id for one in root.countersignatures) or "nobody else"
        say(f"statement     epoch {root.statement.last_epoch}, signed by the host and {signers}")
