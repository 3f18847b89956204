"""Estimators for scikit-learn, which is imported in this room alone: `pip install "cnn-engine[sklearn]"`."""

try:
    import sklearn  # noqa: F401  (only to say what to install)
except ImportError as error:
    raise ImportError('engine.estimator needs scikit-learn: pip install "cnn-engine[sklearn]"') from error

from engine.estimator.classifier import CNNClassifier
from engine.estimator.regressor import CNNRegressor

__all__ = ["CNNClassifier", "CNNRegressor"]
