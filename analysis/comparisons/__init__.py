"""analysis, comparisons."""
