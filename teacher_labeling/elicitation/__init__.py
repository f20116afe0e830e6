"""How an LLM is asked for a distribution over plans, and how its answers are read."""
