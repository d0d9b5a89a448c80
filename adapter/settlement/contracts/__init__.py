"""The functions of the contracts, one module per subject."""
