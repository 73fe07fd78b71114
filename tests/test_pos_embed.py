import numpy as np
import pytest

import detweights
from esat_jax.pos_embed import resize_matrix, resize_positions, sincos_position_embedding

# Rows of PyTorch's bicubic interpolation matrix, read off OSTrack's code: {source index: weight}.
PYTORCH_ROWS = {
    (14, 24): [
        {0: 1.097928, 1: -0.097928},
        {0: 0.639648, 1: 0.426270, 2: -0.065918},
        {0: 0.032516, 1: 0.996184, 2: -0.028700},
    ],
    (14, 12): [
        {0: 0.932581, 1: 0.072193, 2: -0.004774},
        {0: -0.105469, 1: 0.878906, 2: 0.261719, 3: -0.035156},
        {1: -0.106337, 2: 0.699798, 3: 0.482494, 4: -0.075954},
    ],
}


@pytest.mark.parametrize(("source", "target"), PYTORCH_ROWS)
def test_weights_are_those_of_pytorch(source, target):
    matrix = resize_matrix(source, target)
    for row, weights in enumerate(PYTORCH_ROWS[source, target]):
        expected = np.zeros(source)
        expected[list(weights)] = list(weights.values())
        np.testing.assert_allclose(matrix[row], expected, atol=1e-6)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("size", [256, 384])
@pytest.mark.parametrize("part", ["z", "x"])
def test_resized_positions_equal_those_of_the_original_code(fixtures, part, size):
    grid = {"z": size // 32, "x": size // 16}[part]
    vit = detweights.tensor("posresize/pos_embed", (1, 197, 768))[:, 1:]
    hivit = detweights.tensor("posresize/absolute_pos_embed", (1, 196, 512))
    for name, embedding in {"vit": vit, "hivit": hivit}.items():
        expected = fixtures[f"{name}_{part}_{size}"]
        result = resize_positions(embedding, grid)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result[:, :, ::16], expected, atol=2e-6)


@pytest.fixture
def fixtures(request):
    return np.load(request.path.parent / "fixtures" / "pos_embed_resize.npz")


@pytest.mark.torch
@pytest.mark.parametrize("grids", [(37, 8), (37, 16), (8, 12), (16, 24), (24, 16), (14, 7), (1, 3)])
def test_resizing_equals_torch_interpolate(grids):
    torch = pytest.importorskip("torch")
    source, target = grids
    embedding = np.random.default_rng(0).normal(size=(1, source**2, 6)).astype(np.float32)
    image = torch.from_numpy(embedding).reshape(1, source, source, 6).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(image, (target, target), mode="bicubic")
    expected = expected.permute(0, 2, 3, 1).reshape(1, target**2, 6).numpy()
    np.testing.assert_allclose(resize_positions(embedding, target), expected, atol=5e-6)


def test_the_same_grid_comes_back_bitwise():
    embedding = np.random.default_rng(0).normal(size=(1, 9, 4)).astype(np.float32)
    np.testing.assert_array_equal(resize_positions(embedding, 3), embedding)


def test_positions_that_are_no_square_are_refused():
    with pytest.raises(ValueError, match="197 position embeddings"):
        resize_positions(np.zeros((1, 197, 8)), 16)


@pytest.mark.parametrize(
    ("width", "grid", "total", "absolute"),
    [(768, 24, 204542.5188, 247695.7047), (768, 12, 51154.5653, 61891.2144),
     (768, 16, 90885.4654, None), (768, 8, 22720.0513, None),
     (512, 24, 136197.0990, None), (512, 12, 34060.6433, None)],
)  # fmt: skip
def test_mae_table_has_the_sums_of_the_original_after_resizing(width, grid, total, absolute):
    table = resize_positions(sincos_position_embedding(width, 14), grid).astype(np.float64)
    np.testing.assert_allclose(table.sum(), total, rtol=3e-7)
    if absolute:
        np.testing.assert_allclose(np.abs(table).sum(), absolute, rtol=3e-7)


def test_mae_table_has_the_values_of_the_original():
    table = sincos_position_embedding(768, 14)
    search, template = resize_positions(table, 24)[0], resize_positions(table, 12)[0]
    first = [-0.082403, -0.079835, -0.077225, -0.074593]
    np.testing.assert_allclose(search[0, :4], first, atol=1e-6)
    at_row_1_column_2 = [0.812163, 0.785040, 0.757750, 0.730486]
    np.testing.assert_allclose(search[24 + 2, :4], at_row_1_column_2, atol=1e-6)
    np.testing.assert_allclose(template[0, :4], [0.056408, 0.054348, 0.052301, 0.050279], atol=1e-6)


def test_mae_table_has_a_zero_row_for_the_class_token():
    table = sincos_position_embedding(8, 2, cls_token=True)
    assert table.shape == (1, 5, 8)
    np.testing.assert_array_equal(table[0, 0], np.zeros(8))
    # Cell (row 1, column 0): sin and cos of the column 0, then of the row 1.
    expected = [0, 0, 1, 1, np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)]
    np.testing.assert_allclose(table[0, 3], expected, atol=1e-7)


def test_mae_table_needs_four_channels():
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        sincos_position_embedding(6, 2)
