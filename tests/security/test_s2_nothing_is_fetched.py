"""S2: no URL in a message or a schema is ever fetched by validation."""

import copy
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from adapter import validate_message
from adapter.protocol import strict_json
from adapter.protocol.schemas import Schemas, root_schema
from adapter.protocol.schemas_py import PythonSchemas
from adapter.store.documents import API, bundle, load_bundle, load_documents
from adapter.store.schema_checks import check_documents
from tests.unit.protocol.messages import Message, contract, dlv, f, o, offer

EXAMPLES = Path(__file__).parents[2] / "examples"


class Listener:
    """A server on loopback that counts who connects."""

    def __init__(self) -> None:
        self.hits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self._ended = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}"

    def _serve(self) -> None:
        while not self._ended:
            try:
                client, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.hits += 1
            client.close()

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def baited(url: str) -> list[Message]:
    """Return messages with a URL at every place that a fetching validator might follow."""
    order, catalog, delivery = f(), o(), dlv()
    bait = f"{url}/context.jsonld"
    for message in (order, catalog, delivery):
        message["context"] |= {"schema_context": [bait], "bap_uri": f"{url}/bap", "@context": bait}
        message |= {"$schema": bait, "$ref": bait, "$id": bait}
    terms = contract(order)
    terms |= {
        "@context": [bait, {"@import": bait}],
        "@type": f"{bait}#EnergyContractP2PTrade",
        "telemetrySources": [
            {
                "sourceId": "s",
                "sourceType": "METER_READING",
                "source": {"endpoint": bait},
                "endpoint": bait,
            }
        ],
        "verification": {"integrity": {"publicKeyEndpoint": bait}},
        "_schema": {"$ref": bait, "$dynamicRef": bait},
    }
    terms["credentials"] = {
        "presentedCredentials": [{"id": bait, "type": [bait], "queryEndpoint": bait}],
        "credentialQuery": {"queryEndpoint": bait},
    }
    offer(catalog)["beckn:offerAttributes"] |= {"providerUri": bait, "@context": bait}
    order["message"]["order"] |= {"@context": bait, "@type": bait}
    return [order, catalog, delivery]


def test_s2_the_bait_would_count(listener: Listener) -> None:
    host, _, port = listener.url.removeprefix("http://").partition(":")
    socket.create_connection((host, int(port))).close()
    while listener.hits == 0:
        pass
    assert listener.hits == 1


def test_s2_neither_engine_fetches_from_a_message(listener: Listener) -> None:
    documents = load_bundle()
    for message in baited(listener.url):
        action = message["context"]["action"]
        for engine in (Schemas(documents), PythonSchemas(documents)):
            engine.check(action, message)
        validate_message(strict_json.encode(message))
    assert listener.hits == 0


@pytest.mark.parametrize("engine", ["rs", "py", "both"])
def test_s2_the_command_line_fetches_nothing(
    listener: Listener, tmp_path: Path, engine: str
) -> None:
    for number, message in enumerate(baited(listener.url)):
        (tmp_path / f"{number}.json").write_bytes(strict_json.encode(message))
    command = [sys.executable, "-m", "adapter"]
    for arguments in (
        ["validate", "--engine", engine, "--history", tmp_path, EXAMPLES / "invalid"],
        ["validate", "--engine", engine, "--profile", "upstream", "--json", tmp_path],
        ["explain", tmp_path / "0.json"],
    ):
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, check=False, timeout=50
        )
        assert b"Traceback" not in done.stderr
    assert listener.hits == 0


def with_remote_reference(url: str) -> dict[str, Any]:
    """Return our documents with one reference to a server."""
    documents = copy.deepcopy(dict(load_documents()))
    documents[API]["components"]["schemas"]["Context"] = {"$ref": f"{url}/context.json"}
    return documents


def test_s2_a_remote_reference_in_a_schema_is_a_fault_and_not_followed(listener: Listener) -> None:
    faults = list(check_documents(with_remote_reference(listener.url), EXAMPLES))
    assert any("refers out of the documents" in fault.message for fault in faults)
    assert listener.hits == 0


def test_s2_engines_refuse_a_remote_reference_that_got_in(listener: Listener) -> None:
    documents = copy.deepcopy(json.loads(strict_json.encode(load_bundle())))
    documents["components"]["schemas"]["Context"] = {"$ref": f"{listener.url}/context.json"}
    with pytest.raises((jsonschema_rs.ReferencingError, ValueError, LookupError)):
        Schemas(documents).check("on_confirm", f())
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        PythonSchemas(documents).check("on_confirm", f())
    assert listener.hits == 0


def test_s2_the_library_alone_would_fetch(listener: Listener) -> None:
    """The trap that our retriever closes."""
    schema = root_schema(load_bundle(), f"{listener.url}/context.json")
    with pytest.raises((jsonschema_rs.ReferencingError, ValueError)):
        jsonschema_rs.Draft202012Validator(schema)
    assert listener.hits > 0


def test_s2_the_bundle_holds_no_remote_reference() -> None:
    text = strict_json.encode(bundle(load_documents())).decode()
    assert '"$ref":"http' not in text
