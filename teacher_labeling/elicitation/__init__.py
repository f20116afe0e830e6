"""teacher_labeling, elicitation."""
