"""Pictures that follow controls, in notebooks that are open in Jupyter.

Such a picture stands in the page like any other, so that a page made without a front end
(papermill, nbconvert) shows its first state; whoever moves a control redraws it in its place."""

import html
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from ipyevents import Event
from IPython.display import HTML, display
from matplotlib.figure import Figure

from esiamfc_lib.figures.style import colours, panels, pictures, style
from esiamfc_lib.runtime.paths import CHAIN

SIDE = 420  # pixels of the map to click on


def follow(draw: Callable[..., Figure], above: Sequence = (), **controls: Any) -> None:
    """Show the figure ``draw(**values)``, and draw it anew whenever a control is moved.
    ``controls`` are the widgets of its arguments, or several of one, whose values are a tuple;
    ``above`` are widgets that only change controls, such as ``map_to_click``."""
    several = {n: c if isinstance(c, list | tuple) else [c] for n, c in controls.items()}

    def drawn() -> Figure:
        values = {name: tuple(one.value for one in own) for name, own in several.items()}
        figure = draw(**{n: v if controls[n] is several[n] else v[0] for n, v in values.items()})
        plt.close(figure)  # or Jupyter would show it a second time, below
        return figure

    picture = display(drawn(), display_id=True)
    if os.environ.get(CHAIN):  # nobody is there to move anything
        return
    everything = [control for own in several.values() for control in own]
    for control in everything:
        control.observe(lambda change: picture.update(drawn()), "value")
    display(ipywidgets.HBox([*above, ipywidgets.VBox(everything)]))


def show_page(page: str) -> None:
    """Show the text of an HTML file, such as ``map_page``, where somebody can use it."""
    if not os.environ.get(CHAIN):
        frame = f'<iframe srcdoc="{html.escape(page)}" width="100%" height="640"></iframe>'
        display(HTML(f"<div>{frame}</div>"))


def slider(name: str, low: float, high: float, value: float, step: float = 1) -> ipywidgets.Widget:
    """A slider that reports when it is let go: of whole numbers where ``step`` is one."""
    look = {"min": low, "max": high, "step": step, "value": value, "continuous_update": False}
    if isinstance(step, int):
        return ipywidgets.IntSlider(description=name, **look)
    return ipywidgets.FloatSlider(description=name, readout_format=".4f", **look)


@style(grid=False)
def map_to_click(coordinates: np.ndarray, groups: Sequence, control: ipywidgets.Widget):
    """A map (n, 2) as a widget: a click sets ``control`` to the number of the nearest point."""
    figure, axis = plt.subplots(figsize=(SIDE / 100, SIDE / 100), dpi=100)
    axis.set_position([0, 0, 1, 1])
    axis.axis("off")
    _, kinds = np.unique(np.asarray(groups), return_inverse=True)
    axis.scatter(*coordinates.T, s=16, c=np.array(colours(kinds.max() + 1))[kinds])
    file = io.BytesIO()
    figure.savefig(file, format="png")  # only now the limits of the axes are those of the points
    places = axis.transData.transform(coordinates) * (1, -1) + (0, SIDE)  # from the left top corner
    plt.close(figure)
    image = ipywidgets.Image(value=file.getvalue(), width=SIDE, height=SIDE)

    def clicked(event: dict[str, Any]) -> None:
        at = event["relativeX"], event["relativeY"]
        control.value = int(np.hypot(*(places - at).T).argmin())

    Event(source=image, watched_events=["click"]).on_dom_event(clicked)
    return image


@style(grid=False)
def track_view(rows: dict[str, Sequence[np.ndarray]]) -> Figure:
    """A track and what is near it: a heading and its pictures, RGB, a row each."""
    longest = max(len(images) for images in rows.values())
    figure, axes = panels(len(rows), longest, (longest * 0.95, len(rows) * 1.2), bare=True)
    for (heading, images), line in zip(rows.items(), axes, strict=True):
        line[0].set_title(heading, loc="left", fontsize=8)
        for axis, image in zip(line, images, strict=False):
            axis.imshow(image)
    return figure


@style()
def split_view(coordinates: np.ndarray, labels: np.ndarray, heading: str) -> Figure:
    """A split of the tracks: its clusters on a map (n, 2), and their sizes."""
    k = int(labels.max()) + 1
    figure, ((left, right),) = panels(1, 2, (8, 3.6), width_ratios=(1.4, 1))
    left.scatter(*coordinates.T, s=12, c=np.array(colours(k))[labels])
    left.set(xticks=[], yticks=[], title=heading)
    sizes = np.bincount(labels, minlength=k)
    right.bar(range(k), sizes, color=colours(k))
    right.axhline(len(labels) / k, color="black", linewidth=1, linestyle="--")
    right.set(xlabel="cluster", ylabel="tracks; dashed: equal sizes")
    right.set_title(f"largest / smallest: {sizes.max() / max(sizes.min(), 1):.2f}")
    return figure


@style(grid=False)
def ensemble_view(
    search: np.ndarray, responses: np.ndarray, own: np.ndarray, weights: Sequence[float]
) -> Figure:
    """A search region, uint8 RGB, and what an ensemble's branches make of it: their responses
    (k, R, R) under its ``own`` weights (k,), then the sum with these and the sum with other
    ``weights`` (k,), which are scaled to sum to 1."""
    given = np.asarray(weights) / max(sum(weights), 1e-9)
    sums = [np.tensordot(each, responses, 1) for each in (own, given)]
    titles = [f"branch {i}: {weight:.2f}" for i, weight in enumerate(own)]
    titles = ["search region", *titles, "ESiamFC", "your weights"]
    figure, axes = pictures([search, *responses, *sums], len(titles), (1.5, 1.8))
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=8)
    for axis, response in zip(axes[1:], [*responses, *sums], strict=True):
        row, column = np.unravel_index(response.argmax(), response.shape)
        axis.plot(column, row, "+", color="white", markersize=9)
    return figure
