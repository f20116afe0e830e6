"""flows, service."""
