"""The parts of matplotlib, and of Pillow that comes with it, with which figures are drawn: see `canvas.load_parts`."""

from matplotlib import colormaps as colormaps
from matplotlib import rc_context as rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvasAgg
from matplotlib.colors import PowerNorm as PowerNorm
from matplotlib.figure import Figure as Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine as ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke as withStroke
from matplotlib.ticker import MaxNLocator as MaxNLocator
from PIL import Image as Image
