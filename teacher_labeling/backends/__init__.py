"""teacher_labeling, backends."""
