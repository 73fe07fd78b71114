import re
from pathlib import Path

from data_pipeline.datasets import REGISTRY

ROWS = re.findall(r"^\| `.*", (Path(__file__).parents[1] / "docs/datasets.md").read_text(), re.M)


def test_the_table_of_data_sets_is_that_of_the_registry():
    table = {}
    for row in ROWS:
        names, folder, _, totals = row.strip("| ").split(" | ")
        totals = re.findall(r"\d+", totals)
        for number, name in enumerate(re.findall("`([^`]+)`", names)):
            total = int(totals[number]) if totals else None
            table[name] = ("" if folder == "the root itself" else folder.strip("`"), total)
    assert table == {name: (known.folder, known.total) for name, known in REGISTRY.items()}
