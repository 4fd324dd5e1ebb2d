"""How much each benchmark does: enough to mean something, or so little that a test may run it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "SHORT", "TOY", "Size"]


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is measured how often.

    Parameters
    ----------
    pairs
        Turns of a comparison.
    steps
        Source files of a region, on a 0.25° grid.
    regions_a_core
        Of backfills: enough that a job's start and end weigh little.
    regions
        Of a run that is done again.
    chains
        Trivial region jobs, in the runs whose costs are compared.
    memory_steps
        Of the regions whose peak memory is compared.
    latency_s
        Of injected latency, per request.
    """

    pairs: int
    steps: int
    regions_a_core: int
    regions: int
    chains: tuple[int, ...]
    memory_steps: tuple[int, ...]
    latency_s: float


# 1 and 8 GB of float32 a variable.
MEMORY_STEPS = (240, 1920)

FULL = Size(
    pairs=5,
    steps=24,
    regions_a_core=6,
    regions=1000,
    chains=(10_000, 100_000),
    memory_steps=MEMORY_STEPS,
    latency_s=0.05,
)
SHORT = Size(
    pairs=3,
    steps=24,
    regions_a_core=3,
    regions=200,
    chains=(1000,),
    memory_steps=MEMORY_STEPS[:1],
    latency_s=0.05,
)
TOY = Size(
    pairs=1, steps=2, regions_a_core=1, regions=3, chains=(4,), memory_steps=(2,), latency_s=0.0
)
