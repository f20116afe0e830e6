"""teacher_labeling, labeling."""
