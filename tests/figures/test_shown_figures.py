"""Figures in a notebook are seen, not only saved."""

import nbformat
import numpy as np
from nbclient import NotebookClient

from esiamfc_lib.figures import interactive

CELL = """
from matplotlib import pyplot as plt
from esiamfc_lib.figures.style import style
if True:
    with style():
        figure, axis = plt.subplots(figsize=(1, 1))
"""


def test_every_figure_of_a_notebook_is_shown():
    cells = [nbformat.v4.new_code_cell(CELL) for _ in range(3)]
    notebook = NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=120).execute()
    shown = [sum("image/png" in o.get("data", {}) for o in c["outputs"]) for c in notebook.cells]
    assert shown == [1, 1, 1]


def test_a_click_on_the_map_chooses_the_nearest_point(monkeypatch):
    handlers = []

    class Heard:
        def __init__(self, **options):
            pass

        def on_dom_event(self, handler):
            handlers.append(handler)

    monkeypatch.setattr(interactive, "Event", Heard)
    points = np.array([[100.0, 7.0], [300.0, 7.0], [100.0, 9.0]])
    control = interactive.slider("track", 0, 2, 1)
    interactive.map_to_click(points, ["a", "a", "b"], control)
    for number, (x, y) in enumerate([(30, 390), (390, 390), (30, 30)]):
        handlers[0]({"relativeX": x, "relativeY": y})
        assert control.value == number
