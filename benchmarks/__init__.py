"""Benchmarks: what a measurement is, from a Spec to a run folder."""
