"""envs, vector."""
