"""A run's report as one page: figures, learning curves, agreement and replayed episodes."""
