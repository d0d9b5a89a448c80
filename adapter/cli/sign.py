"""`p2ptrade sign`: the Authorization header for exactly the bytes of a file."""

from pathlib import Path
from typing import Annotated

import typer

from adapter.cli.output import misuse, refuse, say
from adapter.protocol.signature import Signer
from adapter.transport.clock import SystemClock
from adapter.transport.key_files import KeyFileError, read_seed

LIFETIME_S = 300

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def sign(
    file: Annotated[Path, typer.Argument(help="Message; every byte counts, the last newline too.")],
    subscriber: Annotated[str, typer.Option(help="Subscriber id of the signer.")],
    key_id: Annotated[str, typer.Option(help="Id of the key in the registry.")],
    seed_file: Annotated[Path, typer.Option(help="Key file, see `p2ptrade keys new`.")],
    created: Annotated[int | None, typer.Option(help="Unix seconds; now.")] = None,
    expires: Annotated[int | None, typer.Option(help="Unix seconds; 300 after created.")] = None,
) -> None:
    """Print the Authorization header for exactly the file's bytes."""
    body = read_file(file)
    for name, value in (("--subscriber", subscriber), ("--key-id", key_id)):
        if not value or any(char in '|"\\,' or not "!" <= char <= "~" for char in value):
            misuse(f'{name} {value[:40]!r} is not an id of visible ASCII without | " \\ ,')
    try:
        signer = Signer(subscriber, key_id, read_seed(seed_file))
    except KeyFileError as error:
        refuse(str(error))
    created_s = SystemClock().now_ms() // 1_000 if created is None else created
    expires_s = created_s + LIFETIME_S if expires is None else expires
    if not 0 <= created_s < expires_s:
        misuse(f"--expires {expires_s} is not after --created {created_s}")
    header = signer.header(body, created_s=created_s, expires_s=expires_s)
    say(header)


def read_file(file: Path) -> bytes:
    """Return the bytes of a file; end with exit code 2 when it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        misuse(f"{file}: cannot be read: {error.strerror}")
