"""Tasks whose mission the teacher reads; plans are what is possible with all that is seen."""
