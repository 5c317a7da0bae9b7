"""What someone needs to know of the machine and the checkout to repeat a run."""

import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def environment(session: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, commit, device and command of one start of a run."""
    packages = ("torch", "timm", "open_clip_torch", "numpy", "pydantic", "mmengine")
    return {
        "command": " ".join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in packages},
        "commit": _commit(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "session": dict(session),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with a «+» when files differ from it; None outside a checkout."""
    root = Path(__file__).parent.parent
    try:
        return _git(root, "rev-parse", "HEAD") + ("+" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *words: str) -> str:
    git = shutil.which("git") or "git"
    done = subprocess.run([git, "-C", str(root), *words], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()
