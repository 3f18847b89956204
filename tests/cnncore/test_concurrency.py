"""One program, many Python threads: calls wait for each other, and every one gets its own result."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from engine.models.numtadb import lenet


def test_predictions_from_several_threads_are_those_of_one() -> None:
    net = lenet()
    batches = [np.random.default_rng(seed).random((8, 3, 28, 28), dtype=np.float32) for seed in range(6)]
    expected = [net.predict(batch) for batch in batches]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(net.predict, batches * 10))
    assert all(np.array_equal(result, expected[i % len(batches)]) for i, result in enumerate(results))
