"""analysis, reports."""
