"""Any MiniGrid or BabyAI environment as a task: missions, describer and grounding."""
