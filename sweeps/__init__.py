"""Sweeps: searching a method's tunables."""
