"""What the browser tests show: bright squares at known places, answered by a flood fill."""

from __future__ import annotations

SETUP = """
from typing import Any

import numpy as np
from fake_session import FakeSession, squares
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.widgets.annotator import Annotator, open_annotation
session = FakeSession()
image = Image(squares(3, 4).pixels, Calibration(5, "nm"), "squares")
"""
SHOW = SETUP + "editor = Annotator(session, image, autosave='{name}.pnb'); editor"
#: nothing saved, so that a test begins with nothing
FRESH = SETUP + "editor = Annotator(session, image, autosave=False); editor"
#: squares of 40 px, 24 px apart: the first spans 24..63 in both directions
FIRST, SECOND, THIRD = (43.5, 43.5), (107.5, 43.5), (171.5, 43.5)
