"""A random forest as plain arrays: grown by scikit-learn, voting in compiled loops."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from particle_nb.core.errors import DataError
from particle_nb.core.phases._kernels import _votes


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees as arrays over their N nodes; K classes, D features.

    Parameters
    ----------
    roots : int64 (T,)
    feature : int32 (N,)
        Feature that a node asks for, -1 in a leaf.
    threshold : float64 (N,)
    children : int32 (N, 2)
        Nodes for "at most the threshold" and for "above"; both behind their parent.
    leaves : float32 (N, K)
        Shares of the classes in a node.
    width : int
        Features D that it was grown on.

    Raises
    ------
    DataError
        If the arrays are no trees.
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    children: np.ndarray
    leaves: np.ndarray
    width: int

    def __post_init__(self) -> None:
        kinds = {
            "roots": np.int64,
            "feature": np.int32,
            "threshold": np.float64,
            "children": np.int32,
            "leaves": np.float32,
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), kind))
        nodes = len(self.feature)
        inner = np.flatnonzero(self.feature >= 0)
        sound = (
            self.threshold.shape == (nodes,)
            and self.children.shape == (nodes, 2)
            and self.leaves.ndim == 2
            and len(self.leaves) == nodes
            and self.roots.ndim == 1
            and len(self.roots) > 0
            and bool((self.roots >= 0).all() and (self.roots < nodes).all())
            and bool((self.feature < self.width).all())
            # children behind their parents: a walk ends, and stays inside
            and bool((self.children[inner] > inner[:, None]).all())
            and bool((self.children[inner] < nodes).all())
            and bool(np.isfinite(self.leaves).all() and np.isfinite(self.threshold).all())
        )
        if not sound:
            raise DataError("these arrays are no forest: the file is damaged.")

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean share of each class over the trees, float32 (N, K) of rows (N, D).

        Raises
        ------
        DataError
            If the rows are of another width.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise DataError(f"the forest asks {self.width} features, not an array {rows.shape}.")
        out = np.zeros((len(rows), self.leaves.shape[1]), np.float32)
        _votes(rows, self.roots, self.feature, self.threshold, self.children, self.leaves, out)
        out /= np.float32(len(self.roots))
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, for a file."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "width"}


@dataclass(frozen=True)
class Growth:
    """How a forest is grown.

    `balance` weighs classes so that each counts alike however much of it was painted; `seed`
    makes it the same each time; `linear` asks for linear judges beside the forests.
    """

    trees: int = 100
    depth: int | None = None
    leaf: int = 1
    balance: bool = True
    seed: int = 0
    linear: bool = True


def grow(rows: np.ndarray, targets: np.ndarray, growth: Growth) -> Forest:
    """Grow a forest on rows (N, D) of the classes 0 to K - 1, each of which occurs.

    Parameters
    ----------
    rows : float32 (N, D)
    targets : int (N,)
    growth : Growth

    Examples
    --------
    >>> rows = np.array([[0.0], [0.1], [0.9], [1.0]], np.float32)
    >>> forest = grow(rows, np.array([0, 0, 1, 1]), Growth(trees=8))
    >>> forest.probabilities(rows).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    model = RandomForestClassifier(
        n_estimators=growth.trees,
        max_depth=growth.depth,
        min_samples_leaf=growth.leaf,
        max_features="sqrt",
        class_weight="balanced" if growth.balance else None,
        random_state=growth.seed,
        n_jobs=1,
    ).fit(rows, targets)
    roots, parts, start = [], [], 0
    for tree in (estimator.tree_ for estimator in model.estimators_):
        pairs = np.stack([tree.children_left, tree.children_right], axis=1)
        leaf = tree.children_left < 0
        shares = tree.value[:, 0].astype(float)
        parts.append(
            (
                np.where(leaf, -1, tree.feature),
                np.where(leaf, 0.0, tree.threshold),
                np.where(leaf[:, None], 0, pairs + start),
                shares / shares.sum(axis=1, keepdims=True),
            )
        )
        roots.append(start)
        start += tree.node_count
    feature, threshold, children, leaves = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    return Forest(np.array(roots), feature, threshold, children, leaves, rows.shape[1])
