"""Trajectories with the teacher's advice for other programs."""
