"""Tasks whose mission a parser has read: the teacher chooses between purposes."""
