"""flows, runtime."""
