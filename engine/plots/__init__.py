"""Figures of runs and networks: pure functions from data to a matplotlib Figure, and what gathers the data.

    from engine.plots.curves import draw_curves, read_log
    draw_curves([read_log("runs/mnist")])  # a notebook shows it

`curves`, `confusion`, `layers` (filters, feature maps), `sheets` (mistakes, samples), `rates` draw; `gather` reads run
folders, checkpoints and data sets; `canvas` makes, styles and saves figures; `python -m engine.plots` is the command.
Nothing here touches pyplot or its state, and matplotlib is imported when the first figure is made.
"""
