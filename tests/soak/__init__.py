"""`make soak MINUTES=30`: the operator for a long time under changes, faults and reads at random."""
