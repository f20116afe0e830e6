"""The paper's four rooms with keys and doors: describer, grounding and a compiled engine."""
