"""The parts of matplotlib, and of Pillow that comes with it, with which figures are drawn: see `canvas.load_parts`."""

import io

from matplotlib import colormaps as colormaps
from matplotlib import rc_context as rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvasAgg
from matplotlib.colors import PowerNorm as PowerNorm
from matplotlib.figure import Figure as PlainFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine as ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke as withStroke
from matplotlib.ticker import MaxNLocator as MaxNLocator
from PIL import Image as Image


class Figure(PlainFigure):
    """A figure that a notebook shows where a cell ends with it: matplotlib's own waits there for pyplot's manager."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
