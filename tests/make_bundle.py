"""The bundled schemas as JSON, so that a command line parses no YAML.

Run `python -m tests.make_bundle` after a change of a schema document; a test compares.
"""

from typing import Any

from adapter.protocol import strict_json
from adapter.store.documents import KEPT, bundle, data_folder, load_documents, sources_digest


def kept() -> dict[str, Any]:
    """Return what the file should hold."""
    return {"digest": sources_digest(), "document": bundle(load_documents())}


def main() -> None:
    """Write the file."""
    (data_folder("schema") / KEPT).write_bytes(strict_json.encode(kept()) + b"\n")


if __name__ == "__main__":
    main()
