"""Figures in a notebook are seen, not only saved."""

import nbformat
from nbclient import NotebookClient

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
