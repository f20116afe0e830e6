"""Tasks: environments with their options, their describer and their grounding."""
