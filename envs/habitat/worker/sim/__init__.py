"""Nav & Pick on the real habitat-sim, in the apartments of the kinematic simulator."""
