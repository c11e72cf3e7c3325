"""The limits of a conversion, for the process that does it and for the one that waits for it."""

from dataclasses import dataclass

# In a function of 1,024 MB: 1,024 - 120 for its imports - 200 for the largest file - 44 in reserve.
# image_drop.imaging.conversion has the sums for each format.
CONVERSION_MEMORY = 660_000_000


@dataclass(frozen=True)
class Limits:
    """The limits of a conversion: whole seconds of CPU, and seconds by the clock."""

    cpu_seconds: int
    wall_seconds: float


# The slowest honest files that were measured take 4.5 s of a server's x86 core: 48 megapixels in
# Display P3, as a PNG that has to be compressed. Four times that leaves room for slower cores such
# as Graviton2. A function of 1,024 MB gets 1,024 / 1,769 of a core, so 20 s of CPU are 35 s by the
# clock. The clock's limit is only for a process that sleeps.
LIMITS = Limits(cpu_seconds=20, wall_seconds=60)
