"""Pictures of attention weights and masks.

`view` makes a page to look into. Every other function takes arrays and gives
back a matplotlib `Figure` that belongs to the caller: no window, no pyplot,
nothing to close. matplotlib is imported when the first picture is drawn.
"""

from keras_attention.plots.pictures import plot_alignment
from keras_attention.plots.pictures import plot_heads
from keras_attention.plots.pictures import plot_mask
from keras_attention.plots.saving import check_path
from keras_attention.plots.saving import save_figure
from keras_attention.plots.viewing import AttentionView
from keras_attention.plots.viewing import view

__all__ = [
    "AttentionView",
    "check_path",
    "plot_alignment",
    "plot_heads",
    "plot_mask",
    "save_figure",
    "view",
]
