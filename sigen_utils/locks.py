"""Two things that keep what is written whole: a lock on a folder, and a Ctrl-C that waits for a good moment."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from .paths import writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NO_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK)  # a file system that has none, as some in the network: go on


class LockedError(ValueError):
    """Another process writes to the folder; the message names it and the remedy."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the state was stored; the message says where and how to go on."""


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Be the only process that writes to a folder.

    The lock is the operating system's, on the file ``.<name>.lock`` beside the folder (the folder itself may be moved
    aside or swapped meanwhile). It ends with the process, however that ends; a file that a crash left locks nothing.

    Raises
    ------
    LockedError
        If another process, or another block of this one, holds it.
    """
    folder = Path(folder).absolute()
    file = folder.with_name(f".{folder.name}.lock")
    while True:
        with writing(file):
            folder.parent.mkdir(parents=True, exist_ok=True)
            handle = open(file, "a+")
        try:
            _take(handle)
        except OSError as error:
            handle.seek(0)
            pid = handle.read().strip()
            handle.close()
            raise LockedError(
                f"{folder}: another process{f' ({pid})' * bool(pid)} writes there; wait for it, stop it, or name "
                "another folder"
            ) from error
        if file.exists() and os.path.samestat(os.fstat(handle.fileno()), file.stat()):
            break
        handle.close()  # its last owner has just removed it
    try:
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
    finally:
        if fcntl:
            file.unlink(missing_ok=True)  # while it is locked, so that nobody can hold a file that is gone
        handle.close()


def _take(handle) -> None:
    """Lock an open file; OSError if that cannot be had at once."""
    if fcntl:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
    else:
        import msvcrt

        handle.seek(2**20)  # far beyond what is written: Windows lets nobody read a locked byte
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait: yields a function that says whether it was pressed. A second one strikes at once.

    Outside the main thread, and where Ctrl-C does something else already, nothing changes.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is not signal.default_int_handler:
        yield bool
        return
    pressed = threading.Event()

    def press(number, frame) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed.is_set():
        raise KeyboardInterrupt
