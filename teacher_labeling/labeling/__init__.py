"""Labeling states once each: look up, ask, pay, store."""
