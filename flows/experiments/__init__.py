"""Experiments: their catalog, and trials that are scheduled, trained and compared."""
