"""What the recipes of several methods have in common; each method's own file says what it changes."""

from typing import Any

RESNET: dict[str, Any] = {
    "method.pretrained": True,
    "image.height": 384,
    "image.width": 192,
    "image.interpolation": "bilinear",
    "augment.flip": 0.5,
    "augment.zoom_crop": 0.0,
    "augment.pad_crop": 10,
    "augment.erase": 0.5,
    "optimiser.name": "adam",
    "optimiser.lr": 3.5e-4,
    "optimiser.weight_decay": 5e-4,
    "schedule.name": "multistep",
    "schedule.decay": 0.1,
}
"""A ResNet-50 on clothes-changing datasets: the part in which the papers' codes agree."""

TINY_RESNET: dict[str, Any] = {
    "method.backbone": "resnet_tiny",
    "method.pretrained": False,
    "image.height": 64,
    "image.width": 32,
    "augment.pad_crop": 4,
    "train.precision": "fp32",
    "evaluate.initial": True,
}
"""On the synthetic world, from random weights, on two CPU cores. No paper's."""
