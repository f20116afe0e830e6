"""LLMs behind an OpenAI-compatible server."""
