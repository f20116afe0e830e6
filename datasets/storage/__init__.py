"""datasets, storage."""
