"""A server that imports Keras once, and forks processes that need it.

There is one for all tests, so it must not hold what a test changes: not `lstm_keras`.
(Until it has computed something, TensorFlow has no threads that a fork would lack.)
"""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["keras", "sklearn.feature_extraction.text", "pytest", "hypothesis"]
)
