"""`p2ptrade serve` is told to end while messages pour in: what it acknowledged is there."""

import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import httpx
import pytest
import yaml

from adapter.demo.folder import BAP, BPP, DemoFolder, write_folder
from adapter.demo.network import new_ports
from adapter.demo.processes import Processes
from adapter.domain.instants import format_instant
from adapter.protocol import strict_json
from adapter.transport.clock import SystemClock

pytestmark = pytest.mark.timeout(120)

STREAMS, ENOUGH = 8, 80
END_S = 10
"""Source: interfaces, rulings of section 4."""


class Load:
    """A buyer's app that posts signed messages over several connections until it is refused."""

    def __init__(self, folder: DemoFolder) -> None:
        self.own = f"{folder.nodes['bap'].base_url}/bap/receiver"
        self.url = f"{folder.nodes['bpp'].base_url}/bpp/receiver"
        self.signer = folder.bap_signer
        self.clock = SystemClock()
        self.acknowledged: list[str] = []
        self.enough = Event()

    def stream(self, number: int) -> None:
        with httpx.Client(timeout=END_S, trust_env=False) as client:
            count = 0
            while True:
                message_id = f"m-{number}-{count}"
                raw = self.message(message_id)
                now_s = self.clock.now_ms() // 1_000
                header = self.signer.header(raw, created_s=now_s, expires_s=now_s + 60)
                headers = {"authorization": header, "content-type": "application/json"}
                try:
                    answer = client.post(f"{self.url}/discover", content=raw, headers=headers)
                except httpx.TransportError:
                    return  # the node has ended
                if answer.status_code == 200:
                    self.acknowledged.append(message_id)
                if len(self.acknowledged) >= ENOUGH:
                    self.enough.set()
                count += 1

    def message(self, message_id: str) -> bytes:
        context = {
            "version": "2.0.0",
            "action": "discover",
            "domain": "energy-trade",
            "timestamp": format_instant(self.clock.now_ms()),
            "ttl": "PT30S",
            "transaction_id": f"T-{message_id}",
            "message_id": message_id,
            "bap_id": BAP,
            "bap_uri": self.own,
            "bpp_id": BPP,
            "bpp_uri": self.url,
        }
        return strict_json.encode({"context": context, "message": {"text_search": "solar"}})


def alone(path: Path) -> DemoFolder:
    """Return a folder whose seller's platform needs no other node to be up."""
    folder = write_folder(path, new_ports())
    config = folder.nodes["bpp"].config
    settings = yaml.safe_load(config.read_text())
    settings["registry"] = {"kind": "static", "file": "network.yaml"}
    del settings["contracts"]
    config.write_text(yaml.safe_dump(settings))
    return folder


def test_what_was_acknowledged_before_the_end_is_there(tmp_path: Path) -> None:
    folder = alone(tmp_path)
    node = folder.nodes["bpp"]
    load = Load(folder)
    with Processes() as processes, ThreadPoolExecutor(STREAMS) as threads:
        processes.start(node)
        processes.wait_until_ready()
        [(_, process)] = processes._running
        streams = [threads.submit(load.stream, number) for number in range(STREAMS)]
        assert load.enough.wait(60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_S) == 0
        for stream in streams:
            stream.result(END_S)
    with closing(sqlite3.connect(node.database)) as connection:
        stored = [one for (one,) in connection.execute("SELECT message_id FROM inbox")]
        queued = [one for (one,) in connection.execute("SELECT message_id FROM outbox")]
        whole = connection.execute("PRAGMA integrity_check").fetchall()
    assert set(load.acknowledged) <= set(stored)
    assert sorted(queued) == sorted(stored)  # and each will get its callback
    assert whole == [("ok",)]
    said = node.log.read_text()
    assert "SIGTERM: finishing open requests" in said
    assert f"{node.subscriber_id} is down" in said
