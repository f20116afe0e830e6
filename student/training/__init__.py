"""student, training."""
