"""The command line `p2ptrade`."""
