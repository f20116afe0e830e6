"""Teachers and labeling: states in, advice out."""
