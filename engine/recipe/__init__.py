"""From a configuration to a training, a cross-validation or predictions."""
