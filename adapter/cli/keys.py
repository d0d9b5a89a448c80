"""`p2ptrade keys`: Ed25519 key files and bearer tokens."""

import base64
from pathlib import Path
from typing import Annotated

import typer
from nacl.signing import SigningKey

from adapter.cli.output import complain, refuse, say, say_json
from adapter.transport.key_files import KeyFileError, is_private, read_seed, write_seed
from adapter.transport.token_files import Scope, TokenFileError, add_token, hash_token

app = typer.Typer(
    help="Make and show Ed25519 key files and bearer tokens.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
KeyFile = Annotated[Path, typer.Argument(help="Key file: base64 of a 32-byte seed.")]


@app.command()
def new(file: KeyFile, as_json: AsJson = False) -> None:
    """Make a key file of mode 0600 and print the public key."""
    try:
        seed = write_seed(file)
    except KeyFileError as error:
        refuse(str(error))
    _show(file, seed, as_json=as_json)


@app.command()
def show(file: KeyFile, as_json: AsJson = False) -> None:
    """Print the public key of a key file."""
    try:
        seed = read_seed(file)
    except KeyFileError as error:
        refuse(str(error))
    if not is_private(file):
        complain(f"warning: others than the owner may read {file}; chmod 600 it")
    _show(file, seed, as_json=as_json)


@app.command()
def token(
    file: Annotated[Path, typer.Argument(help="Tokens file of a node, made if there is none.")],
    scope: Annotated[Scope, typer.Option(help="What the token is for.")] = Scope.APPLICATION,
    actor: Annotated[
        str | None, typer.Option(help="Who it acts as on the contract layer; the node itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a bearer token, print it once, and store its hash."""
    try:
        made = add_token(file, scope, actor)
    except TokenFileError as error:
        refuse(str(error))
    if as_json:
        known = {"token": made, "sha256": hash_token(made), "scope": scope.value}
        say_json(known if actor is None else known | {"actor": actor})
    else:
        say(made)


def _show(file: Path, seed: bytes, *, as_json: bool) -> None:
    public_key = base64.b64encode(bytes(SigningKey(seed).verify_key)).decode()
    if as_json:
        say_json({"file": str(file), "algorithm": "ed25519", "signing_public_key": public_key})
    else:
        say(public_key)
