"""teacher_labeling, backends, openai."""
