"""What images look like in words: text features that methods read, and the sentences they are made of."""

from .encoders import encode_texts
from .features import (
    ASPECTS,
    CaptionConfig,
    CaptionFeatures,
    caption_features,
    require_caption_files,
    save_caption_features,
)

__all__ = [
    "ASPECTS",
    "CaptionConfig",
    "CaptionFeatures",
    "caption_features",
    "encode_texts",
    "require_caption_files",
    "save_caption_features",
]
