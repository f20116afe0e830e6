"""envs, habitat."""
