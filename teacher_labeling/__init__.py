"""Teachers and labelling: states in, advice out."""
