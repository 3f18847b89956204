"""The public names of the package: the one list of them, which `engine.__getattr__` reads."""

__version__: str

from cnncore import get_num_threads as get_num_threads

from engine.data.dataset import Dataset as Dataset
from engine.data.loader import Loader as Loader
from engine.errors import DivergedError as DivergedError
from engine.errors import EngineWarning as EngineWarning
from engine.errors import UserError as UserError
from engine.inference.calibrate import calibrate as calibrate
from engine.layers import ELU as ELU
from engine.layers import GELU as GELU
from engine.layers import Add as Add
from engine.layers import AvgPool2D as AvgPool2D
from engine.layers import BatchNorm as BatchNorm
from engine.layers import Clip as Clip
from engine.layers import Concat as Concat
from engine.layers import Conv2D as Conv2D
from engine.layers import Dropout as Dropout
from engine.layers import Flatten as Flatten
from engine.layers import GlobalAvgPool2D as GlobalAvgPool2D
from engine.layers import Hardsigmoid as Hardsigmoid
from engine.layers import Hardswish as Hardswish
from engine.layers import LeakyReLU as LeakyReLU
from engine.layers import Linear as Linear
from engine.layers import MaxPool2D as MaxPool2D
from engine.layers import PReLU as PReLU
from engine.layers import ReLU as ReLU
from engine.layers import ReLU6 as ReLU6
from engine.layers import Sigmoid as Sigmoid
from engine.layers import SiLU as SiLU
from engine.layers import Softmax as Softmax
from engine.layers import Softplus as Softplus
from engine.layers import Tanh as Tanh
from engine.losses import BinaryCrossEntropy as BinaryCrossEntropy
from engine.losses import CrossEntropy as CrossEntropy
from engine.losses import MeanSquaredError as MeanSquaredError
from engine.network.graph import Graph as Graph
from engine.network.graph import Sequential as Sequential
from engine.network.load import load as load
from engine.network.network import Network as Network
from engine.optim import SGD as SGD
from engine.optim import Adam as Adam
from engine.optim import AdamW as AdamW
from engine.program.core import set_num_threads as set_num_threads
from engine.training.schedules import Constant as Constant
from engine.training.schedules import Cosine as Cosine
from engine.training.schedules import EarlyStopping as EarlyStopping
from engine.training.schedules import PiecewiseConstant as PiecewiseConstant
from engine.training.schedules import ReduceLROnPlateau as ReduceLROnPlateau
from engine.training.trainer import Trainer as Trainer
