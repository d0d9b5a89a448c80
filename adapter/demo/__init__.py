"""The demo: four nodes on this machine and one whole trade between them."""
