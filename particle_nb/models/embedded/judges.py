"""Small learned judges: whether two pieces are one particle, and whether this is a particle.

A judge is a perceptron with two hidden layers on a few numbers, stored with the weights of the
network as plain tensors and evaluated in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import block_diag

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

    @classmethod
    def committee(cls, members: Sequence[Judge]) -> Judge:
        """One judge whose logits are the mean of its members', which share features and outputs.

        Their layers stand side by side, so it is stored and evaluated like any other judge.
        """
        layers = []
        for number, pairs in enumerate(zip(*(judge.layers for judge in members), strict=True)):
            weights, biases = zip(*pairs, strict=True)
            if number == len(members[0].layers) - 1:
                made = np.concatenate(weights, 1) / len(members), np.mean(biases, 0)
            else:
                wide = np.concatenate(weights) if number == 0 else block_diag(*weights)
                made = wide, np.concatenate(biases)
            layers.append((made[0].astype(np.float32), made[1].astype(np.float32)))
        return replace(members[0], layers=tuple(layers))

    def stored(self, name: str) -> dict[str, np.ndarray]:
        """Arrays that `read` makes this judge of again."""
        out = {f"{name}.middle": self.middle, f"{name}.spread": self.spread}
        for number, (weight, bias) in enumerate(self.layers):
            out |= {f"{name}.weight{number}": weight, f"{name}.bias{number}": bias}
        return {key: np.ascontiguousarray(value, np.float32) for key, value in out.items()}
