"""Our own example messages of a tariff trade and of a market.

Run `python -m tests.conformance.make_mode_examples` to write `examples/p2p_trading_tariff` and
`examples/p2p_trading_market_based` anew.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.conformance import market_example, tariff_example
from tests.conformance.make_examples import pretty
from tests.conformance.wire_parts import Part

EXAMPLES = Path(__file__).parents[2] / "examples"
SETS: Mapping[str, Callable[[], dict[str, Part]]] = {
    "p2p_trading_tariff": tariff_example.messages,
    "p2p_trading_market_based": market_example.messages,
}


def files(folder: str) -> dict[str, bytes]:
    """Return the files of a set by name, formatted for people."""
    return {f"{name}.json": pretty(message) for name, message in SETS[folder]().items()}


def main() -> None:
    """Write the files."""
    for folder in SETS:
        (EXAMPLES / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files(folder).items():
            (EXAMPLES / folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
