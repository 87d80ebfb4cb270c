"""The parity tests run in an environment of their own: `make parity`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("segment_anything") is None:
    collect_ignore = ["test_parity.py"]
else:
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    import torchvision_ops

    torchvision_ops.register()
