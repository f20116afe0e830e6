"""What the trials of an experiment come to: results, table, figure and page."""
