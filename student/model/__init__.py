"""The network, its encoders and its checkpoints."""
