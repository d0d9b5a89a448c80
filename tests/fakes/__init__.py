"""Stand-ins for ports: fixed time, counted ids, and a network inside one event loop."""
