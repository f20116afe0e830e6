"""student, model."""
