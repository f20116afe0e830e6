"""Distillation, and PPO with a KL term to the teacher."""
