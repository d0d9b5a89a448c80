"""Reads `docs/stories.md` and types its commands against a node in this process, over HTTP."""

import base64
import json
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import yaml
from nacl.signing import SigningKey

from adapter.bootstrap import Node, Ports, build_node
from adapter.protocol import strict_json
from adapter.settings import load_settings
from adapter.settlement import READS, reading_bytes
from adapter.transport.token_files import Scope, add_token
from adapter.web.app import create_app
from adapter.web.ending import Ending
from tests.fakes.network import Wire, signers_of
from tests.fakes.time import CountingIds, FixedClock

PAGE = Path(__file__).parents[2] / "docs" / "stories.md"
LEDGER = "ledger.example"
DAY = "2026-01-01"
QUARTER_MS = 900_000
_FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_PROMPT = re.compile(r"(\w+)\$ p2ptrade contracts call (\w+) (\w+)(.*)")
_BALANCES = re.compile(r"\| who \| GRID \| (\w+) \|[^\n]*\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)")


@dataclass(frozen=True)
class Typed:
    """A command with what the page shows below it."""

    at: str
    """The clock, `12:05`."""
    actor: str
    contract: str
    function: str
    arguments: str
    output: tuple[str, ...] = ()


@dataclass(frozen=True)
class Story:
    """One section of the page."""

    title: str
    genesis: str
    commands: tuple[Typed, ...]
    currency: str
    balances: dict[str, tuple[str, str]]
    """GRID and cash at the end, by owner."""


def stories() -> list[Story]:
    """Return the stories of the page."""
    return [_story(section) for section in PAGE.read_text().split("\n## ")[1:]]


def _story(section: str) -> Story:
    fences = _FENCE.findall(section)
    (genesis,) = (text for language, text in fences if language == "yaml")
    lines = "".join(text for language, text in fences if language == "console").splitlines()
    table = _BALANCES.search(section)
    assert table is not None
    rows = [[cell.strip() for cell in row.split("|")] for row in table[2].splitlines()]
    return Story(
        section.splitlines()[0],
        genesis,
        tuple(_typed(lines)),
        table[1],
        {row[1]: (row[2], row[3]) for row in rows},
    )


def _typed(lines: list[str]) -> list[Typed]:
    found: list[Typed] = []
    at = ""
    for line in lines:
        if line.startswith("# "):
            at = line.removeprefix("# ")
        elif (prompt := _PROMPT.fullmatch(line)) is not None:
            found.append(Typed(at, prompt[1], prompt[2], prompt[3], prompt[4]))
        else:
            found[-1] = replace(found[-1], output=(*found[-1].output, line))
    return found


@dataclass
class Teller:
    """A node with its clock, and a client for every actor."""

    node: Node
    clock: FixedClock
    client: httpx.AsyncClient
    tokens: dict[str, str]
    keys: dict[str, SigningKey] = field(default_factory=dict)
    """Of the users' meters."""
    at: str = ""
    typed: int = 0

    async def tell(self, typed: Typed) -> None:
        """Type a command at its time and compare what comes out."""
        await self.move_to(typed.at)
        shown = await self.run(typed)
        place = f"{typed.at} {typed.actor}$ {typed.contract} {typed.function} {typed.arguments}"
        if typed.output:
            assert shown is not None, place
            for line in typed.output:
                assert matches(line, shown), f"{place}\nexpected {line}\ngot {shown}"
        else:
            assert not shown or not shown[0].startswith("p2ptrade: "), f"{place}\ngot {shown}"

    async def move_to(self, at: str) -> None:
        """Let time pass; the node's timer does what has become due."""
        if at != self.at:
            self.clock.move_to(f"{DAY}T{at}:00Z")
            self.at = at
            assert self.node.contracts is not None
            for _ in range(3):
                await self.node.contracts.do_due()

    async def run(self, typed: Typed) -> list[str]:
        """Return the lines that the command line prints."""
        args = dict(self.argument(text) for text in shlex.split(typed.arguments) if text != "--arg")
        headers = {"Authorization": self.tokens[typed.actor]}
        url = f"/contracts/{typed.contract}/{typed.function}"
        self.typed += 1
        is_read = (typed.contract, typed.function) in READS
        if is_read:
            answer = await self.client.get(url, params=args, headers=headers)
        else:
            headers["Idempotency-Key"] = f"story-{self.typed}"
            answer = await self.client.post(url, json=args, headers=headers)
        body: Any = strict_json.decode(answer.content)
        if answer.status_code != 200:
            return [f"p2ptrade: {body['error']['code']}: {body['error']['message']}"]
        if is_read:
            return [json.dumps(body["result"], separators=(",", ":"), default=str)]
        return [f"  {name}: {value}" for name, value in body["result"].items()]

    def argument(self, text: str) -> tuple[str, Any]:
        """Return name and value of an argument, with keys and files of readings put in."""
        name, _, value = text.partition("=")
        if value.startswith("$KEY_"):
            key = self.key(value.removeprefix("$KEY_").lower())
            return name, base64.b64encode(bytes(key.verify_key)).decode()
        if value.startswith("@"):
            return name, self.reading(*value.removeprefix("@").removesuffix(".json").split("-"))
        return name, value

    def key(self, user: str) -> SigningKey:
        """Return the key of a user's meter."""
        return self.keys.setdefault(user, SigningKey(user.encode().ljust(32, b"\0")))

    def reading(self, user: str, generated: str, consumed: str) -> dict[str, Any]:
        """Return the reading of the last quarter as the meter of a user signs it."""
        end = self.clock.now_ms() // QUARTER_MS * QUARTER_MS
        data = {
            "meter_id": f"m-{user}",
            "start": end - QUARTER_MS,
            "end": end,
            "generated": generated,
            "consumed": consumed,
        }
        signature = self.key(user).sign(reading_bytes(data)).signature
        return {**data, "signature": base64.b64encode(signature).decode()}

    async def balance(self, owner: str, asset: str) -> dict[str, str]:
        """Return posted, held and available."""
        headers = {"Authorization": self.tokens["rec"]}
        params = {"user": owner, "asset": asset}
        answer = await self.client.get(
            "/contracts/token/balance_of", params=params, headers=headers
        )
        found: dict[str, str] = strict_json.decode_object(answer.content)["result"]
        return found


def matches(line: str, shown: list[str]) -> bool:
    """Return whether a line of the page is what came out.

    Refusals may say more than their code, and objects may have more fields than those shown.
    """
    if line.startswith("p2ptrade: "):
        return shown[0].startswith(f"{line}:")
    if line[0] not in '{["' or shown[0].startswith("p2ptrade: "):
        return line in shown
    expected, found = json.loads(line), json.loads(shown[0])
    if isinstance(expected, dict):
        return {name: found.get(name) for name in expected} == expected
    return bool(expected == found)


@asynccontextmanager
async def told_by(story: Story, folder: Path) -> AsyncIterator[Teller]:
    """Give a node that begins with the story's genesis."""
    (signer,) = signers_of([LEDGER]).values()
    participant = {
        "subscriber_id": LEDGER,
        "key_id": "k1",
        "type": "BPP",
        "url": "http://127.0.0.1:9101/bpp/receiver",
        "domain": "energy-trade",
        "signing_public_key": base64.b64encode(signer.public_key).decode(),
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2036-01-01T00:00:00Z",
        "status": "SUBSCRIBED",
    }
    settings = {
        "node": {
            "subscriber_id": LEDGER,
            "key_id": "k1",
            "seed_file": "node.seed",
            "roles": ["grid_operator"],
            "base_url": "http://127.0.0.1:9101",
        },
        "database": {"url": "sqlite:///ledger.db"},
        "registry": {"kind": "static", "file": "network.yaml"},
        "contracts": {"host": "here", "genesis": "genesis.yaml"},
        "access": {"tokens_file": "tokens.yaml"},
    }
    (folder / "genesis.yaml").write_text(story.genesis)
    (folder / "network.yaml").write_text(yaml.safe_dump({"participants": [participant]}))
    (folder / "node.yaml").write_text(yaml.safe_dump(settings))
    seed = folder / "node.seed"
    seed.write_text(base64.b64encode(bytes([1] * 32)).decode())
    seed.chmod(0o600)
    actors = dict.fromkeys(["rec", *(typed.actor for typed in story.commands)])
    file = folder / "tokens.yaml"
    tokens = {actor: f"Bearer {add_token(file, Scope.OPERATOR, actor)}" for actor in actors}
    clock = FixedClock(f"{DAY}T11:30:00Z")
    node = build_node(
        load_settings(folder / "node.yaml"),
        Ports(clock=clock, ids=CountingIds(1), sender=Wire()),
    )
    assert node.contracts is not None
    await node.contracts.open(node.genesis)
    transport = httpx.ASGITransport(create_app(node, Ending()))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield Teller(node, clock, client, tokens)
    await node.stop()
