"""The picture of a training's loss."""

import csv
from pathlib import Path

from doubledraft.plotting import COLOURS, canvas, note


def loss_figure(table: str | Path, path: str | Path) -> None:
    """Draw the loss and the learning rate of a training from its CSV (columns step, epoch, loss, learning_rate)."""
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"step", "epoch", "loss", "learning_rate"} <= rows[0].keys():
        raise ValueError(f"{table}: expected rows with the columns step, epoch, loss, learning_rate")
    steps = [float(row["step"]) for row in rows]
    with canvas(path, 3.9, nrows=2, sharex=True, height_ratios=(3, 1)) as (figure, (top, bottom)):
        top.plot(steps, [float(row["loss"]) for row in rows], color=COLOURS[0], linewidth=1.2, marker=".", markersize=4)
        top.set(ylabel="loss (nats per token)")
        top.set_ylim(bottom=0)
        bottom.plot(steps, [float(row["learning_rate"]) for row in rows], color=COLOURS[1], linewidth=1.2)
        bottom.set(ylabel="learning rate", xlabel="optimizer step")
        bottom.set_ylim(bottom=0)
        bottom.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=False)
        figure.align_ylabels()
        note(figure, f"n = {len(rows)} logged steps, {float(rows[-1]['epoch']):g} epochs")
