"""`p2ptrade serve` with nobody at the other end: what it sends stays in its outbox."""

from typing import Any

import adapter.bootstrap
from adapter.cli.main import main
from bench.receive_node import NobodyThere


def _nobody(*_: Any, **__: Any) -> NobodyThere:
    return NobodyThere()


if __name__ == "__main__":
    vars(adapter.bootstrap)["HttpSender"] = _nobody
    main()
