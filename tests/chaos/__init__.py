"""Kills the real pipeline at seeded random moments and compares what it leaves with an undisturbed run."""
