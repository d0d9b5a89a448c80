"""`p2ptrade doctor`: what a node needs, one line each. Changes nothing."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer

from adapter.cli.output import FINDINGS, refuse, say, say_json
from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.settings import Settings, SettingsError, load_settings
from adapter.store.audit import pending_migrations, root_statements
from adapter.store.documents import DocumentError, data_folder, load_bundle
from adapter.store.errors import NEEDS_EXTRA, StoreError
from adapter.transport.clock import SystemClock
from adapter.transport.key_files import (
    KeyFileError,
    is_private,
    read_seed,
    refuse_sample_seed,
)
from adapter.transport.registry_records import RecordError, participant_from
from adapter.transport.registry_static import RegistryFileError, StaticRegistry
from adapter.transport.token_files import TokenFileError, read_tokens

TIMEOUT_S = 3
SKEW_MS = 5_000
"""What peers tolerate. Source: protocol specification, 5.2."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    check: str
    ok: bool
    text: str


@app.command()
def doctor(
    config: Annotated[Path, typer.Option(help="node.yaml of the node.")] = Path("node.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Check database, keys, clock, registry, peers and schemas; exit code 1 if one is wrong."""
    try:
        settings = load_settings(config)
    except SettingsError as error:
        refuse(str(error))
    healthy = True
    for finding in Doctor(settings).findings():
        healthy = healthy and finding.ok
        if as_json:
            say_json({"check": finding.check, "ok": finding.ok, "text": finding.text})
        else:
            say(f"{'ok  ' if finding.ok else 'FAIL'} {finding.check:<9} {finding.text}")
    if not healthy:
        raise typer.Exit(FINDINGS)


class Doctor:
    """The checks of one node."""

    def __init__(self, settings: Settings) -> None:
        """Take the node's settings; its process may run or not."""
        self._settings = settings
        self._clock = SystemClock(settings.node.clock_file)
        self._records: list[Participant] = []
        self._dates: list[tuple[str, int]] = []
        """Who answered, and by how many ms its clock is ahead of ours."""

    def findings(self) -> Iterator[Finding]:
        """Give one finding per check; peers may give several."""
        single: tuple[tuple[str, Callable[[], str]], ...] = (
            ("database", self._database),
            ("keys", self._keys),
            ("registry", self._registry),
        )
        for name, check in single:
            yield self._guarded(name, check)
        yield from self._peers()
        yield self._guarded("clock", self._clocks)
        yield self._guarded("schemas", self._schemas)
        yield self._guarded("roots", self._roots)

    def _guarded(self, name: str, check: Callable[[], str]) -> Finding:
        try:
            return Finding(name, ok=True, text=check())
        except (
            _WrongError,
            DocumentError,
            KeyFileError,
            OSError,
            RegistryFileError,
            StoreError,
            TokenFileError,
        ) as error:
            return Finding(name, ok=False, text=str(error))

    def _database(self) -> str:
        url = self._settings.database.url
        path = url.path
        if path is None:
            return _postgres(url.url)
        if path.exists():
            return f"{path}, {_state(pending_migrations(path))}"
        folder = next(parent for parent in path.parents if parent.exists())
        if not os.access(folder, os.W_OK):
            msg = f"{path} cannot be made: {folder} is not writable"
            raise _WrongError(msg)
        return f"{path} will be made at the first start"

    def _keys(self) -> str:
        node = self._settings.node
        seed = read_seed(node.seed_file)
        refuse_sample_seed(seed, on_loopback=not node.is_public)
        if not is_private(node.seed_file):
            msg = f"{node.seed_file} may be read by others; chmod 600 it"
            raise _WrongError(msg)
        tokens = self._settings.access.tokens_file
        count = 0 if tokens is None else len(read_tokens(tokens))
        return f"{node.subscriber_id}|{node.key_id}|ed25519 {self._public_key()}, {count} tokens"

    def _public_key(self) -> str:
        node = self._settings.node
        signer = Signer(node.subscriber_id, node.key_id, read_seed(node.seed_file))
        return base64.b64encode(signer.public_key).decode()

    def _registry(self) -> str:
        """Find the records that matter, and among them the node's own."""
        node, registry = self._settings.node, self._settings.registry
        if registry.kind == "static":
            assert registry.file is not None
            self._records = StaticRegistry(registry.file, self._clock).find({})
            where = str(registry.file)
        else:
            where = str(registry.url)
            wanted = [node.subscriber_id, self._settings.cascade.grid_operator]
            self._records = [one for name in wanted if name for one in self._looked_up(name)]
        mine = [one for one in self._records if one.subscriber_id == node.subscriber_id]
        if not node.roles:
            return f"{where}, {len(self._records)} records"
        usable = [one for one in mine if one.usable(self._clock.now_ms())]
        if not any(one.key_id == node.key_id for one in usable):
            msg = f"{where} lists no usable key {node.key_id} of {node.subscriber_id}"
            raise _WrongError(msg)
        listed = {one.signing_public_key for one in usable if one.key_id == node.key_id}
        if listed != {self._public_key()}:
            msg = f"{where} lists another public key for {node.subscriber_id}|{node.key_id}"
            raise _WrongError(msg)
        return f"{where}, own key listed, {len(self._records)} records"

    def _looked_up(self, subscriber_id: str) -> list[Participant]:
        url = f"{str(self._settings.registry.url).rstrip('/')}/lookup"
        body = strict_json.encode({"subscriber_id": subscriber_id})
        try:
            answer = httpx.post(
                url,
                content=body,
                headers={"Content-Type": "application/json"},
                timeout=TIMEOUT_S,
                trust_env=False,
            )
            self._note_date("the registry", answer)
            return [participant_from(record) for record in strict_json.decode(answer.content)]
        except (httpx.HTTPError, RecordError, WireError, TypeError, AttributeError) as error:
            msg = f"{url} does not answer as a registry: {error}"
            raise _WrongError(msg) from None

    def _peers(self) -> Iterator[Finding]:
        """Ask every listed peer for any answer at all."""
        own = self._settings.node.subscriber_id
        peers = {one.subscriber_id: one for one in self._records if one.subscriber_id != own}
        if not peers:
            yield Finding("peers", ok=True, text="none listed")
        for name, peer in peers.items():
            parts = urlsplit(peer.url)
            url = f"{parts.scheme}://{parts.netloc}/"
            try:
                answer = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                yield Finding("peers", ok=False, text=f"{name} at {url}: {error}")
            else:
                self._note_date(name, answer)
                yield Finding("peers", ok=True, text=f"{name} answers at {url}")

    def _note_date(self, name: str, answer: httpx.Response) -> None:
        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return
        # A Date has whole seconds: take its middle.
        theirs_ms = int(theirs.timestamp()) * 1_000 + 500
        self._dates.append((name, theirs_ms - SystemClock().now_ms()))

    def _clocks(self) -> str:
        for name, ahead_ms in self._dates:
            if abs(ahead_ms) > SKEW_MS:
                msg = f"{name} is {ahead_ms / 1_000:+.1f} s from ours; allowed are ±5 s"
                raise _WrongError(msg)
        moved_s = (self._clock.now_ms() - SystemClock().now_ms()) // 1_000
        moved = (
            f", moved by clock_file: about {moved_s} s" if self._settings.node.clock_file else ""
        )
        return f"within 5 s of {len(self._dates)} others{moved}"

    def _schemas(self) -> str:
        load_bundle()
        root = data_folder("schema")
        digest = hashlib.sha256()
        files = sorted(root.rglob("*.yaml"))
        for file in files:
            name = file.relative_to(root).as_posix().encode()
            digest.update(name + b"\0" + hashlib.sha256(file.read_bytes()).digest())
        return f"{len(files)} documents, sha256 {digest.hexdigest()}"

    def _roots(self) -> str:
        """Look whether the host of a ledger has said two things."""
        url = self._settings.database.url
        if url.path is not None and not url.path.exists():
            return "no statements kept yet"
        kept, twice = root_statements(url.path or url.url)
        for root in twice:
            statement = root.statement
            msg = (
                f"the host of ledger {statement.ledger} contradicts itself: a second statement "
                f"{statement.hash} for epoch {statement.last_epoch}, signed by it, is kept as proof"
            )
            raise _WrongError(msg)
        return f"{kept} signed statements, none contradicts another"


def _postgres(url: str) -> str:
    """Return what a PostgreSQL database is like."""
    try:
        from adapter.store.postgres_audit import state_of
    except ImportError:
        raise _WrongError(NEEDS_EXTRA) from None
    state = state_of(url)
    if not state.is_durable:
        msg = f"{state.place} loses what it has committed in a power cut: fsync, full_page_writes"
        raise _WrongError(msg)
    room = f"{state.connections_max} connections"
    return f"{state.place}, PostgreSQL {state.version}, {room}, {_state(state.pending)}"


def _state(waiting: int) -> str:
    return f"{waiting} migrations come at the next start" if waiting else "up to date"


class _WrongError(Exception):
    """A check that failed; one line."""
