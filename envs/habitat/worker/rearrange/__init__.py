"""Nav & Pick on habitat-sim's own rearrangement task, in ReplicaCAD's apartments."""
