"""Probes: one fact a file; a probe that finds nothing says nothing."""
