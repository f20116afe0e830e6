"""The teachers themselves: servers, embedded models, recordings, wrappers."""
