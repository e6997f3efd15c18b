"""Real commands, cut off at every named step and at random moments, over a real tiny guest."""
