"""A server that imports Keras once, and forks processes that need it.

There is one for all tests, so it must not hold what a test changes: not `lstm_keras`.
(Until it has computed something, TensorFlow has no threads that a fork would lack.)
"""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["keras", "sklearn.feature_extraction.text", "pytest", "hypothesis"]
)


def in_a_fork(target, *args, longest):
    """Call a function in a process of its own.

    Args:
        target: The function. It sends its result through its last argument.
        *args: Its arguments before that.
        longest: Seconds after which it is ended.

    Returns:
        What it sent, or None if nothing came.
    """
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=target, args=(*args, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(longest) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()
