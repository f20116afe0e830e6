"""envs, grid."""
