"""Small learned judges: whether two pieces are one particle, and whether this is a particle.

A judge is a perceptron with two hidden layers on a few numbers, stored with the weights of the
network as plain tensors and evaluated in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

HIDDEN = 24


@dataclass(frozen=True, eq=False)
class Judge:
    """Standardised features (N, F) to probabilities (N, outputs).

    Parameters
    ----------
    middle, spread : (F,)
        What features are less and divided by.
    layers : sequence of (weight, bias)
        Weight (out, in) and bias (out,) of each layer.
    """

    middle: np.ndarray
    spread: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (N, outputs) of features (N, F)."""
        x = ((features - self.middle) / self.spread).clip(-6.0, 6.0).astype(np.float32)
        for number, (weight, bias) in enumerate(self.layers):
            x = x @ weight.T + bias
            if number + 1 < len(self.layers):
                x = np.maximum(x, 0.0)
        return np.asarray(1.0 / (1.0 + np.exp(-x.clip(-30.0, 30.0))))

    @classmethod
    def read(cls, stored: Mapping[str, np.ndarray], name: str) -> Judge:
        """The judge of this name among stored arrays; KeyError where it lacks."""
        layers = tuple((stored[f"{name}.weight{k}"], stored[f"{name}.bias{k}"]) for k in range(3))
        return cls(stored[f"{name}.middle"], stored[f"{name}.spread"], layers)

    def stored(self, name: str) -> dict[str, np.ndarray]:
        """Arrays that `read` makes this judge of again."""
        out = {f"{name}.middle": self.middle, f"{name}.spread": self.spread}
        for number, (weight, bias) in enumerate(self.layers):
            out |= {f"{name}.weight{number}": weight, f"{name}.bias{number}": bias}
        return {key: np.ascontiguousarray(value, np.float32) for key, value in out.items()}
