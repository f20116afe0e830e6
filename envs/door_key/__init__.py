"""envs, door_key."""
