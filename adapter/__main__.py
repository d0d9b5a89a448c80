"""`python -m adapter` is the same as `p2ptrade`."""

from adapter.cli.main import main

main()
