"""The kinematic Nav & Pick: generated apartments and a robot without physics, for habitat-lab."""
