"""teacher_labeling, backends, llama_cpp."""
