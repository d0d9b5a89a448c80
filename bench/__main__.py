"""`python -m bench [NAME...] [--json] [--write] [--rounds N]`, or `python -m bench load --help`."""

import argparse
import json
import sys

from bench import clear, confirm, load, receive, settle, start, store, trade, validate
from bench.harness import to_text
from bench.report import PAGE, write_page

BENCHMARKS = {
    "validate": validate.run,
    "receive": receive.run,
    "confirm": confirm.run,
    "start": start.run,
    "clear": clear.run,
    "settle": settle.run,
    "store": store.run,
    "trade": trade.run,
}


def main() -> int:
    """Run the named benchmarks, all of them without a name."""
    if sys.argv[1:2] == ["load"]:  # it has settings of its own
        return load.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    for name in options.names or BENCHMARKS:
        result = BENCHMARKS[name](options.rounds)
        sys.stdout.write((json.dumps(result) if options.json else to_text(result)) + "\n")
        sys.stdout.flush()
        if options.write and write_page([result]):
            sys.stderr.write(f"{PAGE.name} has no place for {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
