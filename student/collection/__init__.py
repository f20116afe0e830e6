"""student, collection."""
