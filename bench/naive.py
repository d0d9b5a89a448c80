"""What a good developer writes in a day: FastAPI, openapi-core, cryptography, a commit per request.

Same verdicts on a message: signature over the bytes, key of the signer, times, the whole schema of
our own document, the same message twice is answered alike. Durable before the answer, which is
signed. Left out, in its favour: everything a trade needs besides, such as the rules of a contract,
states, stock, the callback, exact decimals and duplicate keys.

    python -m bench.naive FOLDER PORT sqlite|postgresql://...

FOLDER holds `network.yaml`; cryptography must be importable.
"""

import asyncio
import base64
import hashlib
import json
import re
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import uvicorn
import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from fastapi import FastAPI, Request, Response
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest

from adapter.store.documents import load_bundle
from adapter.transport.clock import SystemClock

ME = "bpp.seller.example"
CLOCK = SystemClock()
POOL = 8
"""Connections to PostgreSQL."""
_PARAMETER = re.compile(r'([A-Za-z-]+)="([^"]*)"')
_TABLE = """
CREATE TABLE IF NOT EXISTS message (
    sender TEXT, message_id TEXT, action TEXT, digest TEXT, body {blob}, reply {blob},
    PRIMARY KEY (sender, message_id, action))
"""
_FIND = "SELECT reply FROM message WHERE sender = ? AND message_id = ? AND action = ?"
_ADD = "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)"


class Table(Protocol):
    """Where messages are kept."""

    async def find(self, key: tuple[str, str, str]) -> bytes | None:
        """Return the reply to a message that came before."""
        ...

    async def add(self, row: tuple[str, str, str, str, bytes, bytes]) -> None:
        """Keep a message and its reply, durably."""
        ...


class SqliteTable:
    """One connection, one commit per message; the file syncs as ours does."""

    def __init__(self, path: Path) -> None:
        """Open the file."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_TABLE.format(blob="BLOB"))

    async def find(self, key: tuple[str, str, str]) -> bytes | None:
        """Return the reply to a message that came before."""
        found = self._connection.execute(_FIND, key).fetchone()
        return None if found is None else bytes(found[0])

    async def add(self, row: tuple[str, str, str, str, bytes, bytes]) -> None:
        """Keep a message and its reply, durably."""
        self._connection.execute(_ADD, row)


class PostgresTable:
    """A pool of connections, one commit per message."""

    def __init__(self, url: str) -> None:
        """Take the address; nothing is opened yet."""
        from psycopg_pool import AsyncConnectionPool

        self._pool: Any = AsyncConnectionPool(url, min_size=POOL, max_size=POOL, open=False)

    async def open(self) -> None:
        """Connect and make the table."""
        await self._pool.open()
        async with self._pool.connection() as connection:
            await connection.execute(_TABLE.format(blob="BYTEA"))

    async def find(self, key: tuple[str, str, str]) -> bytes | None:
        """Return the reply to a message that came before."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_FIND.replace("?", "%s"), key)
            found = await cursor.fetchone()
        return None if found is None else bytes(found[0])

    async def add(self, row: tuple[str, str, str, str, bytes, bytes]) -> None:
        """Keep a message and its reply, durably."""
        async with self._pool.connection() as connection:
            await connection.execute(_ADD.replace("?", "%s"), row)


class Refusal(Exception):  # noqa: N818 - it becomes an answer
    """A message that is not taken."""

    def __init__(self, status: int, code: str) -> None:
        """Take status and code of the answer."""
        super().__init__(code)
        self.status, self.code = status, code


class Node:
    """Keys, schema and table."""

    def __init__(self, folder: Path, table: Table) -> None:
        """Read the participants; load the schema as ours does."""
        records = yaml.safe_load((folder / "network.yaml").read_text())["participants"]
        self._keys = {
            f"{one['subscriber_id']}|{one['key_id']}|ed25519": Ed25519PublicKey.from_public_bytes(
                base64.b64decode(one["signing_public_key"])
            )
            for one in records
        }
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(ME.encode()).digest())
        self._openapi = OpenAPI.from_dict(load_bundle())
        self.table = table

    async def take(self, action: str, headers: Mapping[str, str], raw: bytes) -> Response:
        """Return the signed answer to a message."""
        given = dict(_PARAMETER.findall(headers.get("authorization", "")))
        try:
            status, reply = 200, await self._taken(action, given, raw)
        except Refusal as error:
            answer = {"message": {"status": "NACK", "error": {"code": error.code}}}
            status, reply = error.status, json.dumps(answer).encode()
        signed = {"signature": self._signature(reply, given.get("signature", ""))}
        return Response(reply, status, signed, "application/json")

    async def _taken(self, action: str, given: Mapping[str, str], raw: bytes) -> bytes:
        digest = base64.b64encode(hashlib.blake2b(raw, digest_size=64).digest()).decode()
        self._check_signature(given, digest)
        try:
            body = json.loads(raw)
        except ValueError:
            raise Refusal(400, "SCH_INVALID_JSON") from None
        context = body["context"]
        if context["bap_id"] != given["keyId"].partition("|")[0]:
            raise Refusal(403, "AUT_UNAUTHORIZED_ACTION")
        key = context["bap_id"], context["message_id"], action
        stored = await self.table.find(key)
        if stored is not None:
            return stored
        request = MockRequest("https://node.example", "post", f"/bpp/receiver/{action}", data=raw)
        try:
            self._openapi.validate_request(request)
        except OpenAPIError:
            raise Refusal(400, "SCH_SCHEMA_VALIDATION_FAILED") from None
        answer = {"message": {"status": "ACK", "messageId": context["message_id"]}}
        reply = json.dumps(answer).encode()
        await self.table.add((*key, digest, raw, reply))
        return reply

    def _check_signature(self, given: Mapping[str, str], digest: str) -> None:
        now_s = CLOCK.now_ms() / 1_000
        try:
            in_time = int(given["created"]) <= now_s + 5 and now_s <= int(given["expires"])
            text = _signing_string(given["created"], given["expires"], digest)
            self._keys[given["keyId"]].verify(base64.b64decode(given["signature"]), text)
        except (KeyError, ValueError, InvalidSignature):
            raise Refusal(401, "AUT_SIGNATURE_INVALID") from None
        if not in_time:
            raise Refusal(401, "AUT_SIGNATURE_INVALID")

    def _signature(self, body: bytes, request_signature: str) -> str:
        created = CLOCK.now_ms() // 1_000
        digest = base64.b64encode(hashlib.blake2b(body, digest_size=64).digest()).decode()
        text = _signing_string(str(created), str(created + 300), digest)
        text += f"\nrequest-signature: {request_signature}".encode()
        signature = base64.b64encode(self._key.sign(text)).decode()
        return (
            f'Signature keyId="{ME}|k1|ed25519",algorithm="ed25519",created="{created}",'
            f'expires="{created + 300}",headers="(created) (expires) digest request-signature",'
            f'signature="{signature}"'
        )


def _signing_string(created: str, expires: str, digest: str) -> bytes:
    return f"(created): {created}\n(expires): {expires}\ndigest: BLAKE-512={digest}".encode()


def application(folder: Path, table: Table) -> FastAPI:
    """Return the node's application."""
    node = Node(folder, table)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        if isinstance(table, PostgresTable):
            await table.open()
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/bpp/receiver/{action}")
    async def receive(action: str, request: Request) -> Response:
        return await node.take(action, request.headers, await request.body())

    return app


def main() -> None:
    """Serve until killed."""
    folder, port, database = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    table = SqliteTable(folder / "naive.db") if database == "sqlite" else PostgresTable(database)
    serve(application(folder, table), port)


def serve(naive: FastAPI, port: int) -> None:
    """Serve an application until killed."""
    config = uvicorn.Config(
        naive,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
    asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
