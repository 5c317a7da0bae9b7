"""The verbs `caption` and `encode`: a dataset's images in words, and the words as features."""
