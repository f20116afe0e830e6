"""Judging a student from stored trajectories alone: critics, off-policy evaluation, the gate."""
