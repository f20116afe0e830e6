"""The student: network, distillation, PPO with a KL term to the teacher, evaluation."""
