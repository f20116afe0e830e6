"""Trajectories: behavior policies, collection, import, and reweighting by returns."""
