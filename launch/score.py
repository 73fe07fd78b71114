r"""Scores results from files alone, under every benchmark code's rule, side by side.

python -m launch.score --benchmark=lasot_test --root=/data \
    --results=baseline=raw/ostrack,ours=runs/lasot/esat_tracking_result --output=runs/scores

--results takes folders or zip archives of result files, in any layout and with any separator, as
this project and other trackers' authors write them; NAME=PATH names a tracker. Trackers are
compared with the first one: "difference" means that the interval of the paired difference leaves
out 0, "noise" that it does not. --output receives scores.md, scores.csv and scores.json.

A sequence without a result is an error; --partial scores the sequences that all trackers have, and
says so. The exit status is 1 if a rule could not be applied to a result.
"""

import json
from pathlib import Path

from absl import app, flags

from esat_jax.atomic import complete_file
from esat_jax.evaluation.score_exports import as_json, csv_text
from esat_jax.evaluation.score_tables import markdown
from launch import errors, score_flags

flags.adopt_module_key_flags(score_flags)  # so that --help lists them
_OUTPUT = flags.DEFINE_string("output", None, "Folder that receives scores.md, .csv and .json.")


def main(argv: list[str]) -> int:
    """Prints the tables, writes them, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    scores = score_flags.collect_named().scores
    print(markdown(scores), end="")
    if _OUTPUT.value:
        folder = Path(_OUTPUT.value)
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            "scores.md": markdown(scores),
            "scores.csv": csv_text(scores),
            "scores.json": json.dumps(as_json(scores), indent=1, allow_nan=False) + "\n",
        }
        for file, text in contents.items():
            with complete_file(folder / file) as part:
                part.write_text(text)
    return 1 if any(board.refusals for board in scores.boards.values()) else 0


if __name__ == "__main__":
    errors.run(main)
