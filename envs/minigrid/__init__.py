"""envs, minigrid."""
