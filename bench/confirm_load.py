"""The load of the `confirm` benchmark, in a process of its own: proposes, then confirms.

Reads one order per line from stdin and writes what it took to stdout. Requests are made and signed
before their clock starts.
"""

import json
import sys
from pathlib import Path

import uvloop

from adapter.transport.clock import SystemClock
from bench.confirm_setup import Platform, target_of
from bench.receive_load import sent


async def main() -> None:
    """Work off the orders: `{step, port, connections, first, count, database}`, per folder."""
    clock = SystemClock()
    platform = Platform(target_of(Path(sys.argv[1])), clock.now_ms())
    for line in sys.stdin:
        order = json.loads(line)
        contracts = range(order["first"], order["first"] + order["count"])
        database = Path(order["database"]) if order["database"] else None
        if order["step"] == "init":
            requests = platform.inits(contracts, clock.now_ms())
        else:
            requests = platform.confirms(contracts, clock.now_ms(), database)
        took = await sent(order["port"], order["connections"], requests)
        sys.stdout.write(json.dumps(took) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
