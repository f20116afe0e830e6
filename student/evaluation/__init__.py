"""student, evaluation."""
