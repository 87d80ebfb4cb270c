"""Figures of a segmentation's quality: reliability of the predicted IoU, F1 over the threshold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from particle_nb.core.errors import DataError
from particle_nb.core.matching import IouCalibration, SegmentationScores
from particle_nb.figures.style import INK, PALETTE, layout


def reliability(calibration: IouCalibration, *, title: str | None = None) -> go.Figure:
    """Draw how far the predicted IoU of masks can be trusted, with the counts below.

    Parameters
    ----------
    calibration : IouCalibration
        From `matching.calibration`.

    Raises
    ------
    DataError
        If it is no IouCalibration.

    Examples
    --------
    >>> from particle_nb.core.matching import calibration
    >>> fig = reliability(calibration([0.9, 0.9, 0.5, 0.5], [0.8, 0.6, 0.5, 0.5]))
    >>> fig.data[-1].y.tolist()
    [2, 2]
    """
    if not isinstance(calibration, IouCalibration):
        raise DataError(
            f"expected an IouCalibration, not {type(calibration).__name__}; "
            "use matching.calibration(masks.predicted_iou, matching.best_iou(masks, truth))."
        )
    table = calibration.table
    middle = ((table["low"] + table["high"]) / 2).to_numpy()
    width = (table["high"] - table["low"]).to_numpy()
    predicted, true = table["predicted"].to_numpy(), table["true"].to_numpy()
    fig = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.06)
    fig.add_trace(
        go.Bar(
            x=middle,
            width=width,
            base=np.minimum(predicted, true),
            y=np.abs(predicted - true),
            marker={"color": "rgba(213,94,0,0.22)", "line": {"width": 0}},
            name="gap to the prediction",
            hoverinfo="skip",
        ),
        row=1,
        col=1,
    )
    fig.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": INK, "width": 1, "dash": "dot"},
            name="a model that knows",
            hoverinfo="skip",
        ),
        row=1,
        col=1,
    )
    fig.add_trace(
        go.Scatter(
            x=predicted,
            y=true,
            mode="lines+markers",
            line={"color": PALETTE[0], "width": 2.5},
            marker={"size": 8},
            name="mean of a bin",
            customdata=table["n"].to_numpy(),
            hovertemplate="predicted %{x:.3f}<br>true %{y:.3f}<br>%{customdata} masks"
            "<extra></extra>",
        ),
        row=1,
        col=1,
    )
    fig.add_trace(
        go.Bar(
            x=middle,
            width=width,
            y=table["n"].to_numpy(),
            marker={"color": PALETTE[4], "line": {"color": "white", "width": 1}},
            showlegend=False,
            hovertemplate="%{y} masks<extra></extra>",
        ),
        row=2,
        col=1,
    )
    text = title if title is not None else "Reliability of the predicted IoU"
    note = (
        f"<br><span style='font-size:12px'>ECE {calibration.expected_error:.3f}, largest gap "
        f"{calibration.largest_error:.3f}, bias {calibration.bias:+.3f} (positive: boasts), "
        f"{calibration.n} masks</span>"
    )
    layout(fig, text + note, width=720, height=620, barmode="overlay")
    fig.update_xaxes(range=[0, 1])
    fig.update_xaxes(title="predicted IoU", row=2, col=1)
    fig.update_yaxes(title="true IoU (best of all true masks)", range=[0, 1.005], row=1, col=1)
    fig.update_yaxes(title="masks", rangemode="tozero", nticks=4, row=2, col=1)
    fig.update_layout(
        margin={"l": 75, "r": 25, "t": 75, "b": 60},
        legend={"x": 0.02, "y": 0.98, "yanchor": "top"},
    )
    return fig


def f1_curve(
    scores: SegmentationScores | Mapping[str, SegmentationScores], *, title: str | None = None
) -> go.Figure:
    """Draw F1 over the IoU threshold, for one segmenter with precision and recall, or for several.

    Parameters
    ----------
    scores : SegmentationScores, or dict of name -> SegmentationScores
        From `core.matching.score` or `pool`.

    Raises
    ------
    DataError
        If there are none, or something else is among them.

    Examples
    --------
    >>> from particle_nb.core.matching import score
    >>> fig = f1_curve(score(np.array([[1, 1, 0]]), np.array([[1, 1, 1]])))
    >>> [trace.name for trace in fig.data]
    ['F1 (mean 0.400)', 'precision', 'recall']
    """
    several = isinstance(scores, Mapping)
    items = dict(scores) if isinstance(scores, Mapping) else {"": scores}
    if not items or not all(isinstance(one, SegmentationScores) for one in items.values()):
        raise DataError("f1_curve takes a SegmentationScores from score(), or a dict of them.")
    fig = go.Figure()
    for number, (name, one) in enumerate(items.items()):
        table = one.by_threshold
        colour = PALETTE[number % len(PALETTE)]
        columns = {"f1": "F1"} if several else {"f1": "F1", "precision": "", "recall": ""}
        for index, (column, word) in enumerate(columns.items()):
            # a NaN (nothing predicted and nothing true) leaves a gap
            label = f"{name or word} (mean {one.mean_f1:.3f})" if column == "f1" else column
            fig.add_trace(
                go.Scatter(
                    x=table["threshold"].to_numpy(),
                    y=table[column].to_numpy(),
                    mode="lines+markers",
                    line={
                        "color": colour if several else PALETTE[(0, 2, 5)[index]],
                        "width": 2.5 if column == "f1" else 1.5,
                        "dash": "solid" if column == "f1" else ("dash", "dot")[index - 1],
                    },
                    marker={"size": 7 if column == "f1" else 5},
                    name=label,
                    hovertemplate=f"{name} {column} %{{y:.3f}} at IoU ≥ %{{x:.2f}}<extra></extra>",
                )
            )
    one = next(iter(items.values()))
    count = "" if several else f": {one.n_predicted} masks against {one.n_truth} true ones"
    layout(fig, title if title is not None else f"F1 over the IoU threshold{count}")
    fig.update_xaxes(title="IoU threshold of a match")
    fig.update_yaxes(
        title="F1 = 2TP / (2TP + FP + FN)" if several else "F1, precision, recall",
        range=[0, 1.02],
    )
    fig.update_layout(width=760, height=480, legend={"x": 0.02, "y": 0.03, "yanchor": "bottom"})
    return fig
