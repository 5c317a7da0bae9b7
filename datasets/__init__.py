"""Datasets: one adapter a file, and what they share (pixel cache, augmentation, samplers, captions)."""

from .registry import Registry

DATASETS = Registry("dataset", "datasets")
