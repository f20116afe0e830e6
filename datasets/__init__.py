"""What is on disk: trajectories, advice, runs and their manifests."""
