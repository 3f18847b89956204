"""The networks of the gradient check: every layer is among them, and earlier records keep theirs."""

import hashlib
import json

from engine.layers import LAYERS
from experiments.measuring.random_networks import EVERY_ACTIVATION, EVERY_LAYER, random_network


def drawn(first: int, count: int) -> set[str]:
    networks = [random_network(number).net for number in range(first, first + count)]
    return {type(layer).__name__ for net in networks for layer in net.layers.values()}


def test_every_layer_is_drawn() -> None:
    assert drawn(EVERY_LAYER, 200) == set(LAYERS)


def test_the_networks_of_earlier_records_stay() -> None:
    numbers = (0, 57, 199, EVERY_ACTIVATION, 399)
    graphs = [random_network(number).net.to_config() for number in numbers]
    text = json.dumps(graphs, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "1f81c1f9b988ebc4"
