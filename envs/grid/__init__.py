"""What all grid tasks share: the map of what was seen, options on it, shortest paths."""
