"""Looking into a network: activations, and the time of its ops."""
