"""flows, stages."""
