"""`p2ptrade contracts`: the contract layer of a node, over HTTP.

Called with an operator's token, or signed with a participant's key.
"""

import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from adapter.cli.output import complain, misuse, refuse, say, say_json
from adapter.domain.errors import WireError
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.settlement import READS
from adapter.transport.key_files import KeyFileError, read_seed
from adapter.transport.node_client import NodeAwayError, NodeClient, NodeError

NODE = "http://127.0.0.1:8103"
"""Where the contract layer is in the network of `p2ptrade demo --serve`."""
RETRY_S = 0.5
"""Before a lost stream is opened again; doubled each time."""
RETRY_MAX_S = 10.0
PAGE = "1000"

app = typer.Typer(
    help="Call the contract layer of a node, read its events and state.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Node = Annotated[str, typer.Option(envvar="P2PTRADE_CLI_NODE", help="Base URL of the node.")]
Token = Annotated[
    str | None, typer.Option(envvar="P2PTRADE_CLI_TOKEN", help="Token of the node's operator.")
]
Subscriber = Annotated[str | None, typer.Option(help="Without a token: sign as this participant.")]
KeyId = Annotated[str, typer.Option(help="Id of its key in the registry.")]
SeedFile = Annotated[Path | None, typer.Option(help="Its key file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def call(  # noqa: PLR0913 - one parameter per option
    contract: Annotated[str, typer.Argument(help="registry, token, oracle, agreements …")],
    function: Annotated[str, typer.Argument(help="A function or a read, see GET /contracts.")],
    arg: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE; a value that begins with { or [ is JSON, @FILE holds one."),
    ] = None,
    on_behalf_of: Annotated[str | None, typer.Option(help="User to act for.")] = None,
    command_id: Annotated[
        str | None, typer.Option(help="Repeat a call safely: the same id has no second effect.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Commit nothing.")] = False,
    node: Node = NODE,
    token: Token = None,
    subscriber: Subscriber = None,
    key_id: KeyId = "k1",
    seed_file: SeedFile = None,
    as_json: AsJson = False,
) -> None:
    """Call a function of the contract layer, or read."""
    args = dict(_argument(text) for text in arg or ())
    is_read = (contract, function) in READS
    with _client(node, token, _signer(subscriber, key_id, seed_file)) as client:
        try:
            if is_read:
                answer = client.read(contract, function, args)
            else:
                answer = client.call(
                    contract,
                    function,
                    args,
                    command_id=command_id or str(uuid.uuid4()),
                    on_behalf_of=on_behalf_of,
                    dry_run=dry_run,
                )
        except (NodeError, NodeAwayError) as error:
            _refused(error)
    if as_json or is_read:
        say_json(answer if as_json else answer["result"])
    else:
        _tell_call(answer, dry_run=dry_run)


@app.command()
def events(  # noqa: PLR0913 - one parameter per option
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what happens until Ctrl-C.")
    ] = False,
    after: Annotated[str | None, typer.Option(help="SEQ or SEQ.INDEX of the last known.")] = None,
    contract: Annotated[str, typer.Option(help="Only of this contract.")] = "",
    name: Annotated[str, typer.Option(help="Only with this name.")] = "",
    node: Node = NODE,
    token: Token = None,
    subscriber: Subscriber = None,
    key_id: KeyId = "k1",
    seed_file: SeedFile = None,
    as_json: AsJson = False,
) -> None:
    """Print events in order, one per line; with --json one JSON object per line."""
    tell = say_json if as_json else _tell_event
    only = {key: value for key, value in (("contract", contract), ("name", name)) if value}
    with _client(node, token, _signer(subscriber, key_id, seed_file)) as client:
        try:
            found = _followed(client, after, only) if follow else _listed(client, after, only)
            for event in found:
                tell(event)
        except (NodeError, NodeAwayError) as error:
            _refused(error)
        except KeyboardInterrupt:
            raise typer.Exit from None


def _listed(
    client: NodeClient, after: str | None, only: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Give all events there are, page by page."""
    while True:
        known = {} if after is None else {"after": after}
        page = client.get("/contracts/events", {"limit": PAGE, **only, **known})
        yield from page["events"]
        if page["next"] == after:
            return
        after = page["next"]


def _followed(
    client: NodeClient, after: str | None, only: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Give all events there are and those to come; a lost connection is opened again.

    Nothing is lost or told twice: it goes on after the last event.

    Raises:
        NodeError: refused.
        NodeAwayError: the first connection already fails.
    """
    reached, waited_s = False, RETRY_S
    while True:
        try:
            for event in client.stream("/contracts/events", only, after):
                reached, waited_s = True, RETRY_S
                after = event.id or after
                if event.data:
                    yield strict_json.decode_object(event.data.encode())
        except NodeAwayError as error:
            if not reached:
                raise
            complain(f"{error}; trying again")
        except NodeError as error:
            if not reached or not error.transient_status:
                raise
            complain(f"{error.code}; trying again")
        threading.Event().wait(waited_s)
        waited_s = min(2 * waited_s, RETRY_MAX_S)


@app.command()
def state(
    node: Node = NODE,
    token: Token = None,
    subscriber: Subscriber = None,
    key_id: KeyId = "k1",
    seed_file: SeedFile = None,
    as_json: AsJson = False,
) -> None:
    """Print head, time and totals of the ledger."""
    with _client(node, token, _signer(subscriber, key_id, seed_file)) as client:
        try:
            summary = client.get("/contracts/state")
        except (NodeError, NodeAwayError) as error:
            _refused(error)
    if as_json:
        say_json(summary)
        return
    totals = summary.pop("totals", {})
    for name, value in {**summary, **{f"total {asset}": n for asset, n in totals.items()}}.items():
        say(f"{name:<14} {value}")


def _client(node: str, token: str | None, signer: Signer | None) -> NodeClient:
    if token is None and signer is None:
        misuse("give --token, or --subscriber with --seed-file")
    return NodeClient(node, token=None if signer else token, signer=signer)


def _signer(subscriber: str | None, key_id: str, seed_file: Path | None) -> Signer | None:
    if subscriber is None and seed_file is None:
        return None
    if subscriber is None or seed_file is None:
        misuse("--subscriber and --seed-file go together")
    try:
        return Signer(subscriber, key_id, read_seed(seed_file))
    except KeyFileError as error:
        refuse(str(error))


def _argument(text: str) -> tuple[str, Any]:
    """Return name and value of `NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        misuse(f"--arg {text[:60]!r} is not NAME=VALUE")
    if value.startswith("@"):
        try:
            value = Path(value[1:]).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            misuse(f"--arg {name}: {value[1:]} cannot be read: {error}")
    if not value.startswith(("{", "[")):
        return name, value
    try:
        return name, strict_json.decode(value.encode())
    except WireError as error:
        misuse(f"--arg {name}: {error.message}")


def _tell_call(answer: dict[str, Any], *, dry_run: bool) -> None:
    done = "would be" if dry_run else ("was before" if answer["replayed"] else "is")
    say(f"entry {answer['seq']} {done} {answer['entry_hash']}")
    for name, value in answer["result"].items():
        say(f"  {name}: {value}")
    for event in answer["events"]:
        _tell_event(event)


def _tell_event(event: dict[str, Any]) -> None:
    known = {"id", "seq", "time", "contract", "function", "name"}
    fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in known)
    say(f"{event.get('id', ''):<8} {event['name']:<24} {fields}".strip())


def _refused(error: NodeError | NodeAwayError) -> NoReturn:
    if isinstance(error, NodeError):
        refuse(f"{error.code}: {error.message}")
    refuse(str(error))
