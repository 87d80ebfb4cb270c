"""Instance masks, sets of them, and the prompts that ask for one."""

from particle_nb.core.masks.masks import Mask, MaskSet
from particle_nb.core.masks.prompt import Prompt

__all__ = [
    "Mask",
    "MaskSet",
    "Prompt",
]
