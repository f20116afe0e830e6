"""Habitat's Nav & Pick: describer, skills, and environments in worker processes."""
