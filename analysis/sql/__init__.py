"""analysis, sql."""
