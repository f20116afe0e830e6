"""Tasks from elsewhere: a base class with defaults, gymnasium environments, and the contract."""
