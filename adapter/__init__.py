"""A Beckn-style protocol adapter for EnergyContractP2PTrade."""
