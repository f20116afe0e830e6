"""Many environments stepped together: in one process, in workers, episode after episode."""
