"""The demo: some nodes on this machine and one whole trade between them."""
