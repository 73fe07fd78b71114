r"""Draws a training batch as the network gets it, to look at before training.

python -m launch.show_batch --config=configs/esat_vit_b384.py --config.data.root=/data \
    --config.data.datasets="('folders','stills')" --output=batch.png

One row a search frame: the template with its box; the search crop with its box, and with the score
map to learn; absolute labels, as colours: a template token has the colour of the search cell that
it is labelled with; positive-negative labels, white and dark.
"""

import cv2
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from data_pipeline.augment import brighten, recolor
from data_pipeline.pipeline import make_train_batches, make_val_batches
from esat_jax.atomic import complete_file
from launch import errors

_CONFIG = config_flags.DEFINE_config_file(
    "config", "configs/esat_vit_b384.py", "Config file, then :variant,variant."
)
_OUTPUT = flags.DEFINE_string("output", "batch.png", "Picture to write.")
_ROWS = flags.DEFINE_integer("rows", 8, "Samples to draw.", lower_bound=1)
_STEP = flags.DEFINE_integer("step", 0, "Which batch, counted from 0.", lower_bound=0)
_VALIDATION = flags.DEFINE_bool("validation", False, "Draw a validation batch.")

PANEL_PX = 224  # side of a picture on the sheet
MARGIN_PX, LINE_PX = 4, 20
BOX_RGB = (60, 220, 60)
TITLES = (
    "template, box",
    "search, box",
    "score map to learn",
    "template: absolute",
    "search: absolute",
    "template: pos-neg",
    "search: pos-neg",
)


def draw_sheet(batch: dict, rows: int) -> np.ndarray:
    """A batch of the input pipeline -> uint8 RGB sheet of its first samples, `rows` of them."""
    num_search = batch["search"].shape[1]
    strips = [_write(_blank(LINE_PX), TITLES)]
    for sample in range(min(rows, len(batch["search"]))):
        for n in range(num_search):
            note = (
                f"{batch['source'][sample]}   search frame {n + 1} of {num_search}   brightness "
                f"{batch['template_brightness'][sample]:.2f}, "
                f"{batch['search_brightness'][sample, n]:.2f}"
            )
            strips += [_write(_blank(LINE_PX), (note,)), _draw_row(batch, sample, n)]
    return np.concatenate(strips)


def _draw_row(batch: dict, sample: int, n: int) -> np.ndarray:
    template = _as_seen(batch, "template", sample)
    search = _as_seen(batch, "search", (sample, n))
    score_target = batch["score_target"][sample, n]
    search_cells = score_target.size
    abs_template, abs_search = _split(batch["abs_labels"][sample, n], search_cells)
    pn_template, pn_search = _split(batch["pn_labels"][sample, n], search_cells)
    grid = len(score_target)
    panels = (
        _with_box(template, batch["template_box_cxcywh"][sample]),
        _with_box(search, batch["box_cxcywh"][sample, n]),
        _with_map(search, cell_heat(score_target)),
        _with_map(template, cell_colors(abs_template, grid)),
        _with_map(search, cell_colors(abs_search, grid)),
        _with_map(template, _signs(pn_template)),
        _with_map(search, _signs(pn_search)),
    )
    strip = _blank(PANEL_PX)
    for place, panel in enumerate(panels):
        left = place * (PANEL_PX + MARGIN_PX)
        strip[:, left : left + PANEL_PX] = panel
    return strip


def cell_colors(labels: np.ndarray, grid: int) -> np.ndarray:
    """Numbers of search cells [T, T] -> uint8 RGB: red grows to the right, green downwards."""
    row, column = np.divmod(labels, grid)
    last = max(grid - 1, 1)
    colors = np.stack([column / last, row / last, np.full(labels.shape, 0.4)], axis=-1)
    return (255 * colors).round().astype(np.uint8)


def cell_heat(score_target: np.ndarray) -> np.ndarray:
    """A score map [S, S] in [0, 1] -> uint8 RGB from black over red to yellow."""
    colors = np.stack([2 * score_target, 2 * score_target - 1, 0 * score_target], axis=-1)
    return (255 * colors.clip(0, 1)).round().astype(np.uint8)


def _signs(labels: np.ndarray) -> np.ndarray:
    return np.repeat((255 * labels).astype(np.uint8)[..., None], 3, axis=2)


def _split(labels: np.ndarray, search_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels [Z + X] -> template [T, T] and search [S, S]."""
    parts = labels[:-search_cells], labels[-search_cells:]
    return tuple(part.reshape(2 * (round(len(part) ** 0.5),)) for part in parts)


def _as_seen(batch: dict, crop: str, place: int | tuple[int, int]) -> np.ndarray:
    image = brighten(batch[crop][place], float(batch[f"{crop}_brightness"][place]))
    if f"{crop}_color" in batch:
        image = recolor(image, batch[f"{crop}_color"][place])
    image = (255 * image).round().astype(np.uint8)
    return cv2.resize(image, (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_AREA)


def _with_box(image: np.ndarray, box_cxcywh: np.ndarray) -> np.ndarray:
    cx, cy, w, h = (box_cxcywh.astype(np.float64) * PANEL_PX).tolist()
    corners = (round(cx - w / 2), round(cy - h / 2)), (round(cx + w / 2), round(cy + h / 2))
    image = image.copy()
    cv2.rectangle(image, *corners, (0, 0, 0), 3)
    cv2.rectangle(image, *corners, BOX_RGB, 1)
    return image


def _with_map(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The image under a transparent picture of one colour a token."""
    large = cv2.resize(colors, (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_NEAREST)
    return cv2.addWeighted(image, 0.45, large, 0.55, 0)


def _blank(height: int) -> np.ndarray:
    return np.zeros((height, len(TITLES) * (PANEL_PX + MARGIN_PX) - MARGIN_PX, 3), np.uint8)


def _write(strip: np.ndarray, texts: tuple[str, ...]) -> np.ndarray:
    """Writes one text at the beginning of each column."""
    for place, text in enumerate(texts):
        at = (place * (PANEL_PX + MARGIN_PX) + MARGIN_PX, LINE_PX - 6)
        cv2.putText(strip, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3, 1, cv2.LINE_AA)
    return strip


def main(argv: list[str]) -> None:
    """Makes the batch in this process and writes the sheet."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    config = _CONFIG.value.to_dict()
    config["data"]["num_workers"] = 0
    make_batches = make_val_batches if _VALIDATION.value else make_train_batches
    batches = make_batches(config)
    batches.set_state({"step": _STEP.value, "skips": {}})
    batch = next(batches, None)
    if batch is None:
        last = batches.steps_per_epoch - 1
        raise ValueError(f"--step={_STEP.value}: the last validation batch is {last}, from 0.")
    sheet = draw_sheet(batch, _ROWS.value)
    with complete_file(_OUTPUT.value) as path:
        path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
    skips = ", ".join(f"{cause} {count}" for cause, count in batches.skip_counts.items())
    print(f"{_OUTPUT.value}: {sheet.shape[1]} x {sheet.shape[0]} px; skipped draws: {skips or 0}")


if __name__ == "__main__":
    errors.run(main)
