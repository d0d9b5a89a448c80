"""What each contract offers: one table of functions and one of reads per contract."""
