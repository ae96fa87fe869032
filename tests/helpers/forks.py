"""A server that imports Keras once, and forks processes that need it.

There is one for all tests, so it must not hold what a test changes: not `lstm_keras`.
(Until it has computed something, TensorFlow has no threads that a fork would lack.)
"""

import multiprocessing
import os

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["keras", "sklearn.feature_extraction.text", "pytest", "hypothesis"]
)


def in_a_fork(function, folder, *args, longest):
    """Return what a function returns in a process of its own, in a folder.

    What it prints goes into the file `log` there. It is ended after `longest` seconds;
    that, or an error of its own, is a RuntimeError.
    """
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_call, args=(function, folder, args, sender))
    process.start()
    sender.close()
    try:
        if receiver.poll(longest):
            return receiver.recv()
        raise EOFError
    except EOFError:
        log = (folder / "log").read_text("utf-8", "replace")
        raise RuntimeError(f"expected {args} to end; received:\n{log}") from None
    finally:
        process.kill()
        process.join()


def _call(function, folder, args, sender):
    os.chdir(folder)
    log = os.open("log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sender.send(function(*args))
