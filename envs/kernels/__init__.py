"""envs, kernels."""
