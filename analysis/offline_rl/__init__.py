"""analysis, offline_rl."""
