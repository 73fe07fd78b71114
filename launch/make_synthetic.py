r"""Writes synthetic sequences in the layout of published data sets, to try everything with.

python -m launch.make_synthetic --output=data --layout=lasot_train --layout=coco \
    --sequences=20 --images=/data/pictures

writes data/lasot and data/coco. Targets are cut-outs from --images/cutouts (PNG or
WebP with alpha) over photographs from --images/stills; without --images all is drawn from noise.
With --num_workers=28 as many processes draw, each a sequence at a time; the files are the same to
the byte.
"""

import contextlib
import zlib
from pathlib import Path

from absl import app, flags
from tqdm import tqdm

from data_pipeline.layout_files import write_coco, write_sequences
from data_pipeline.layouts import LAYOUTS
from data_pipeline.scene import SceneRule
from data_pipeline.sprites import find_material
from data_pipeline.synthetic import SyntheticDataset
from launch import errors

_OUTPUT = flags.DEFINE_string("output", None, "Folder of all data sets, to be --config.data.root.")
_LAYOUTS = flags.DEFINE_multi_enum(
    "layout", ["folders"], [*LAYOUTS, "coco"], "Data set to look like; can be given several times."
)
_SEQUENCES = flags.DEFINE_integer("sequences", 10, "Sequences a data set.", lower_bound=1)
_FRAMES = flags.DEFINE_integer("frames", 100, "Frames a sequence.", lower_bound=2)
_WIDTH = flags.DEFINE_integer("width", 640, "Of the frames, px.", lower_bound=32)
_HEIGHT = flags.DEFINE_integer("height", 360, "Of the frames, px.", lower_bound=32)
_IMAGES = flags.DEFINE_string("images", "", "Folder with cutouts/ and stills/ to make them of.")
_SEED = flags.DEFINE_integer("seed", 0, "The same seed writes the same pixels.", lower_bound=0)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 1, "Processes; 0 is this one. The files are the same.", lower_bound=0
)
_PLAIN = flags.DEFINE_bool("plain", False, "Without occlusion, exits and distractors.")
flags.mark_flag_as_required("output")


def main(argv: list[str]) -> None:
    """Writes the data sets."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    if not _OUTPUT.value:
        raise app.UsageError("--output is empty: the folder that receives the data sets")
    material = find_material(_IMAGES.value)
    rule = SceneRule(_HEIGHT.value, _WIDTH.value, _FRAMES.value, plain=_PLAIN.value)
    output, count = Path(_OUTPUT.value), _SEQUENCES.value
    for layout in _LAYOUTS.value:
        # Each layout has other sequences: a test set must not repeat the training set.
        seed = _SEED.value + zlib.crc32(layout.encode())
        dataset = SyntheticDataset(material=material, rule=rule, seed=seed, count=count)
        if layout == "coco":
            paths = write_coco(dataset, count, output, num_workers=_NUM_WORKERS.value)
            total = count
        else:
            paths = write_sequences(dataset, count, output, layout, num_workers=_NUM_WORKERS.value)
            total = count * _FRAMES.value
        with contextlib.closing(paths), tqdm(total=total, unit="frame", desc=layout) as bar:
            for _ in paths:
                bar.update()
        print(f"Written: {layout}, {count} sequences below {output}.")


if __name__ == "__main__":
    errors.run(main)
