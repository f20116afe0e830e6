"""flows, experiments."""
