"""Methods: one paper, one file, and what they share (backbones, losses, layers)."""

from datasets.registry import Registry

METHODS = Registry("method", "methods")
