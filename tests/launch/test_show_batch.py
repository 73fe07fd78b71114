import cv2
import numpy as np
import pytest

import detweights
from launch import show_batch
from launch.show_batch import BOX_RGB, LINE_PX, MARGIN_PX, PANEL_PX, TITLES
from tool_run import ROOT, run_tool


def make_batch(num_search=1, template_grid=2, grid=4):
    """Two samples on grey crops; the target is the search crop's upper left quarter."""
    cells = np.arange(grid**2)
    labels = np.concatenate([np.full(template_grid**2, grid**2 - 1), cells])
    signs = np.concatenate([np.ones(template_grid**2), cells % grid + cells // grid * 2 < 2])
    heat = np.zeros((grid, grid), np.float32)
    heat[1, 1] = 1
    return {
        "template": np.full((2, 32, 32, 3), 100, np.uint8),
        "search": np.full((2, num_search, 64, 64, 3), 100, np.uint8),
        "template_box_cxcywh": np.tile(np.float32([0.5, 0.5, 0.5, 0.5]), (2, 1)),
        "box_cxcywh": np.tile(np.float32([0.25, 0.25, 0.5, 0.5]), (2, num_search, 1)),
        "template_brightness": np.ones(2, np.float32),
        "search_brightness": np.full((2, num_search), 1.2, np.float32),
        "score_target": np.tile(heat, (2, num_search, 1, 1)),
        "abs_labels": np.tile(labels, (2, num_search, 1)),
        "pn_labels": np.tile(signs, (2, num_search, 1)),
        "source": np.array(["set one: template 0, search 5", "set two: template 3, search 4"]),
    }


def panel(sheet, title, row=0):
    left = TITLES.index(title) * (PANEL_PX + MARGIN_PX)
    top = LINE_PX + row * (LINE_PX + PANEL_PX) + LINE_PX
    return sheet[top : top + PANEL_PX, left : left + PANEL_PX].astype(int)


@pytest.mark.parametrize(("num_search", "rows", "drawn"), [(1, 8, 2), (1, 1, 1), (3, 2, 6)])
def test_the_sheet_has_a_row_for_every_search_frame(num_search, rows, drawn):
    sheet = show_batch.draw_sheet(make_batch(num_search), rows)
    assert sheet.shape[0] == LINE_PX + drawn * (LINE_PX + PANEL_PX)
    assert sheet.shape[1] == 7 * PANEL_PX + 6 * MARGIN_PX


def test_boxes_are_drawn_where_they_are_and_brightness_is_that_of_training():
    sheet = show_batch.draw_sheet(make_batch(), 2)
    search = panel(sheet, "search, box", row=1)
    rows, columns = (search == BOX_RGB).all(axis=2).nonzero()
    assert (rows.min(), rows.max()) == (0, PANEL_PX // 2)
    assert (columns.min(), columns.max()) == (0, PANEL_PX // 2)
    rows, columns = (panel(sheet, "template, box") == BOX_RGB).all(axis=2).nonzero()
    assert (rows.min(), rows.max()) == (PANEL_PX // 4, PANEL_PX * 3 // 4)
    assert search[-5, -5].tolist() == [120, 120, 120]  # 100 times 1.2


def test_maps_are_bright_where_the_labels_are():
    sheet = show_batch.draw_sheet(make_batch(), 1)
    token = PANEL_PX // 4
    heat = panel(sheet, "score map to learn").sum(axis=2)
    rows, columns = (heat > heat.min() + 50).nonzero()
    assert (rows.min(), rows.max() + 1) == (columns.min(), columns.max() + 1) == (token, 2 * token)
    signs = panel(sheet, "search: pos-neg").sum(axis=2)
    on = signs[token // 2 :: token, token // 2 :: token] > 300
    np.testing.assert_array_equal(
        on, np.arange(16).reshape(4, 4) % 4 + np.arange(4)[:, None] * 2 < 2
    )
    assert (panel(sheet, "template: pos-neg").sum(axis=2) > 300).all()


def test_a_template_token_has_the_colour_of_its_search_cell():
    sheet = show_batch.draw_sheet(make_batch() | {"search_brightness": np.ones((2, 1))}, 1)
    last_cell = panel(sheet, "search: absolute")[-9, -9]
    assert (panel(sheet, "template: absolute") == last_cell).all()
    colors = show_batch.cell_colors(np.arange(576).reshape(24, 24), 24).reshape(-1, 3)
    assert len({tuple(color) for color in colors.tolist()}) == 576
    assert colors[23].tolist()[:2] == [255, 0]  # the upper right cell


def run(*arguments):
    return run_tool(ROOT, "show_batch", *arguments)


def test_a_folder_of_sequences_becomes_a_picture(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))
    images = tmp_path / "sequences" / "walk" / "img"
    images.mkdir(parents=True)
    for number in range(20):
        frame = detweights.smooth_image(f"walk/{number}", 60, 80, cells=(16, 8))
        cv2.imwrite(str(images / f"{number}.png"), frame)
    (tmp_path / "sequences" / "walk" / "groundtruth.txt").write_text("30,20,14,12\n" * 20)
    output = tmp_path / "sheet.png"
    done = run(
        f"--config.data.root={tmp_path}",
        "--config.data.datasets=('folders',)",
        "--config.batch_size=2",
        "--rows=2",
        f"--output={output}",
    )
    assert done.returncode == 0, done.stderr
    sheet = cv2.imread(str(output))
    assert sheet.shape[0] == LINE_PX + 2 * (LINE_PX + PANEL_PX)
    assert f"{output}: {sheet.shape[1]} x {sheet.shape[0]} px; skipped draws: 0" in done.stdout

    done = run(
        f"--config.data.root={tmp_path}",
        "--config.data.val_datasets=('folders',)",
        "--config.data.val_samples=4",
        "--config.batch_size=2",
        *("--validation", "--step=9", f"--output={tmp_path / 'none.png'}"),
    )
    assert done.returncode == 1
    assert done.stderr.endswith("error: --step=9: the last validation batch is 1, from 0.\n")
    assert not (tmp_path / "none.png").exists()


def test_a_wrong_name_ends_in_one_sentence(tmp_path):
    done = run(f"--config.data.root={tmp_path}", "--config.data.datasets=('folder',)")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "unknown data set 'folder'; did you mean one of ['folders']" in done.stderr
