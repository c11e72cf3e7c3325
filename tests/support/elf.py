"""Which processor native code is for."""

import struct
from collections.abc import Iterable, Iterator

# e_machine, at byte 18: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
MACHINES = {"arm64": 183, "x86_64": 62}


def native_machines(heads: Iterable[bytes]) -> Iterator[int]:
    """The processors of files, from their first 20 bytes; other files have none."""
    for head in heads:
        if head[:4] == b"\x7fELF":
            yield struct.unpack_from("<H", head, 18)[0]
