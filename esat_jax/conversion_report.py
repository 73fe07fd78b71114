"""What a conversion of weights did, for programs and in words."""

import dataclasses
import re
from collections.abc import Iterator


@dataclasses.dataclass
class Report:
    """What became of a PyTorch state dict.

    Attributes:
      format: name of its format.
      used: PyTorch name -> (path here, layout); paths "torch/..." are only kept for export.
      left_out: PyTorch name -> reason.
      unused_blocks: PyTorch name -> number of its block, of blocks behind the model's last.
      missing: paths here that kept their initial values.
      resized: path here -> (shape in the file, shape here).
      cast: type in the file -> number of arrays that became float32.
      prefix: what was removed from the front of every name.
    """

    format: str
    used: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    unused_blocks: dict[str, int] = dataclasses.field(default_factory=dict)
    missing: list[str] = dataclasses.field(default_factory=list)
    resized: dict[str, tuple[tuple, tuple]] = dataclasses.field(default_factory=dict)
    cast: dict[str, int] = dataclasses.field(default_factory=dict)
    prefix: str = ""

    def lines(self) -> Iterator[str]:
        """The report as a table; names that differ in numbers only share a line."""
        yield f"used: {len(self.used)} arrays of the format {self.format}"
        rows = [(name, path, layout) for name, (path, layout) in self.used.items()]
        yield from _table(rows)
        if self.prefix:
            yield f"removed from the front of every name: {self.prefix}"
        if self.resized:
            yield f"resized, bicubic: {len(self.resized)}"
            yield from _table([(path, f"{a} -> {b}") for path, (a, b) in self.resized.items()])
        if self.left_out:
            yield f"left out: {len(self.left_out)}"
            yield from _table(list(self.left_out.items()))
        if self.unused_blocks:
            first, last = min(self.unused_blocks.values()), max(self.unused_blocks.values())
            blocks = f"block {first}" if first == last else f"blocks {first} to {last}"
            depth = f"the model has {first} blocks"
            yield f"not used: {blocks}, {len(self.unused_blocks)} arrays; {depth}"
        if self.missing:
            yield f"not in the file, initial values: {len(self.missing)}"
            yield from _table([(path,) for path in self.missing])
        for dtype, count in self.cast.items():
            exact = "rounded" if dtype == "float64" else "of equal value"
            yield f"changed from {dtype} to float32 {exact}: {count}"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Aligned columns; rows equal but for their numbers are counted instead of repeated."""
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in rows:
        groups.setdefault(tuple(re.sub(r"\d+", "*", cell) for cell in row), []).append(row)
    shown = [
        (
            *(key if len(members) > 1 else members[0]),
            f"x {len(members)}" if len(members) > 1 else "",
        )
        for key, members in groups.items()
    ]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  " + "  ".join(cells).rstrip()
