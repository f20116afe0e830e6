"""analysis, teachers."""
