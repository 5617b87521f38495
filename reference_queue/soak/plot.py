"""Live promises and memory over time, as a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from reference_queue.soak.files import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reference_queue.soak.run import Outcome

__all__ = ["FORMATS", "draw"]

FORMATS = ("svg", "png", "pdf")
_COLOURS = {"broken": "#b3261e", "reference": "#1b6e3c"}
_NAMES = {"broken": "the incident's queue", "reference": "reference queue"}
_MIB = 2**20


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the picture, whole or not at all; the format follows the file's name.

    Raises:
        ImportError: matplotlib is not installed; the text says how to install it.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and a large one
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib: pip install 'pytest-taskleak[soak]'.") from error
    figure: Any = Figure(figsize=(5.5 * len(outcomes), 6.5), layout="constrained")
    axes: Any = figure.subplots(2, len(outcomes), squeeze=False)
    for column, outcome in enumerate(outcomes):
        promises, memory = axes[0][column], axes[1][column]
        load = outcome.load
        unit, factor = ("minutes", 1.0) if load.minutes >= 2 else ("seconds", 60.0)  # noqa: PLR2004 - legible numbers
        for name, samples in outcome.samples.items():
            times = [sample.minute * factor for sample in samples]
            style = {"color": _COLOURS[name], "label": _NAMES[name], "linewidth": 1.8}
            promises.plot(times, [max(sample.promises, 0.5) for sample in samples], **style)
            memory.plot(times, [sample.memory / _MIB for sample in samples], **style)
        promises.set_yscale("log")
        promises.set_title(f"{load.rate:,.0f} messages a minute")
        promises.set_ylabel("live promises (log scale)")
        memory.set_ylabel("memory, MiB")
        memory.set_ylim(bottom=0)
        memory.axhline(outcome.limit / _MIB, color="#555555", linestyle="--", linewidth=1, label="limit: stopped")
        for each in (promises, memory):
            each.set_xlabel(f"time, {unit}")
            each.set_xlim(0, load.minutes * factor)
            each.grid(visible=True, alpha=0.3)
        memory.legend(loc="best", frameon=False)
        promises.legend(loc="best", frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:].lower(), dpi=120)
    write(path, picture.getvalue())
