"""Questions about what was stored: SQL views, statistics, reports."""
