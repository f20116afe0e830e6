"""student, export."""
