"""What makes the first event of a fresh function wait less."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import in the body without looking for garbage.

    Imports leave next to none, and looking for it takes a tenth of a cold start. What is there at
    the end stays for good, so later searches skip it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
