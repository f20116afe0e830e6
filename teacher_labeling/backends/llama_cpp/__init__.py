"""A small LLM in this process, on the CPU."""
