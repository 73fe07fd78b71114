"""The step on one device, on eight, and in micro-batches; its averages, metrics and refusals."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.augment import AugmentRule, brighten, draw_sample, recolor
from data_pipeline.labels import score_target
from esat_jax import sharding
from esat_jax.losses import tracking_loss
from esat_jax.models.esat import make_model
from esat_jax.train_state import create_state, state_places, state_shapes
from esat_jax.train_step import make_eval_step, make_train_step, normalize_crops
from parity import random_variables, read_config

STEPS, STEPS_PER_EPOCH, RATIO = 20, 10, 0.7
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
FASTER = {"xla_backend_optimization_level": 0}  # to compile; the steps here are few and small
MICRO = {"optim.accumulate": 8, "optim.remat": True}


def smoke(**overrides):
    config = read_config("esat_vit_b384", "smoke")
    config.update_from_flattened_dict({"optim.ema_decay": 0.9} | overrides)
    return config


def make_batch(seed, size=8, num_search=1):
    """Random crops of the smoke variant: 2 x 2 template and 4 x 4 search tokens."""
    rng = np.random.default_rng(seed)
    each = (size, num_search)
    boxes = np.concatenate(
        [rng.uniform(0.3, 0.7, (*each, 2)), rng.uniform(0.1, 0.4, (*each, 2))], 2
    )
    targets = [[score_target(box, 4) for box in sample] for sample in boxes]
    return {
        "template": rng.integers(0, 256, (size, 32, 32, 3), np.uint8),
        "search": rng.integers(0, 256, (*each, 64, 64, 3), np.uint8),
        "box_cxcywh": np.float32(boxes),
        "template_box_cxcywh": np.tile(np.float32([0.5, 0.5, 0.5, 0.5]), (size, 1)),
        "score_target": np.array(targets),
        "abs_labels": rng.integers(0, 16, (*each, 20), np.int32),
        "pn_labels": rng.integers(0, 2, (*each, 20), np.int32),
        "template_brightness": rng.uniform(0.8, 1.2, size).astype(np.float32),
        "search_brightness": rng.uniform(0.8, 1.2, each).astype(np.float32),
    }


class Program:
    """A compiled step of the smoke variant on some devices."""

    def __init__(self, devices=1, num_search=1, size=8, **overrides):
        self.config = smoke(**overrides)
        self.mesh = sharding.make_mesh(jax.devices()[:devices])
        batch = sharding.put_batch(make_batch(0, size, num_search), self.mesh)
        step = make_train_step(self.config, self.mesh, STEPS_PER_EPOCH)
        lowered = step.lower(state_shapes(self.config, self.mesh), batch, RATIO)
        self.step = lowered.compile(compiler_options=FASTER)

    @functools.cached_property
    def _first(self):
        variables = random_variables(self.config.to_dict())
        return jax.device_get(create_state(self.config, variables, mesh=self.mesh))

    def start(self):
        # A copy: the step gives the state's memory away.
        first = jax.tree.map(np.copy, self._first)
        return jax.device_put(first, state_places(self.config, self.mesh))

    def __call__(self, state, batch):
        state, metrics = self.step(state, sharding.put_batch(batch, self.mesh))
        return state, {name: float(value) for name, value in metrics.items()}


@functools.cache
def program(devices=1, **overrides):
    return Program(devices, **overrides)


def train(program, steps=STEPS):
    """Final state on the host, the metrics of all steps and the parameters after each."""
    state, history, path = program.start(), [], []
    for seed in range(steps):
        state, metrics = program(state, make_batch(seed))
        history.append(metrics)
        path.append(jax.tree.map(np.array, state.params))
    return jax.device_get(state), history, path


@functools.cache
def on_one_device():
    return train(program())


def assert_close(got, expected, tolerance=1e-5):
    """Every array by its norm."""
    got, expected = (jax.tree_util.tree_leaves_with_path(tree) for tree in (got, expected))
    assert len(got) == len(expected)
    for (path, ours), (_, theirs) in zip(got, expected, strict=True):
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert error < tolerance, (jax.tree_util.keystr(path), error)


def assert_same_training(got, expected):
    for name in ("params", "batch_stats", "ema"):
        assert_close(getattr(got, name), getattr(expected, name))
    assert int(got.step) == int(expected.step) == STEPS


@pytest.mark.slow
def test_eight_devices_train_as_one_and_gather_nothing():
    many = program(8)
    for operation in ("all-gather", "all-to-all", "collective-permute"):
        assert not re.search(rf" {operation}(-start)?\(", many.step.as_text())
    state, history, _ = train(many)
    expected, metrics, _ = on_one_device()
    assert_same_training(state, expected)
    for got, want in zip(history, metrics, strict=True):
        assert got == pytest.approx(want, rel=1e-4)


@pytest.mark.slow
def test_eight_micro_batches_train_as_one_batch_drop_path_and_batch_statistics_included():
    micro = program(**MICRO)
    assert micro.config.backbone.drop_path > 0
    assert_same_training(train(micro)[0], on_one_device()[0])


@pytest.mark.slow
def test_two_runs_of_one_seed_are_equal_to_the_bit():
    first, second = on_one_device()[0], train(program())[0]
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.slow
def test_split_states_train_as_whole_ones():
    devices = program(8, **{"optim.fsdp": True})
    state = devices.start()
    kernel = state.params["backbone"]["encoder"]["block_00"]["attention"]["qkv"]["kernel"]
    assert kernel.addressable_shards[0].data.size == kernel.size // 8
    moments = [m for m in jax.tree.leaves(state.opt_state) if m.shape == kernel.shape]
    assert {m.addressable_shards[0].data.size for m in moments} == {kernel.size // 8}
    assert_same_training(train(devices)[0], on_one_device()[0])


@pytest.mark.slow
def test_search_frames_of_a_sample_are_pairs_with_its_template():
    frames = make_batch(3, size=4, num_search=2)
    pairs = {}
    for name, array in frames.items():
        if name.startswith("template"):
            pairs[name] = np.repeat(array, 2, axis=0)
        else:
            pairs[name] = array.reshape(8, 1, *array.shape[2:])
    several = Program(num_search=2, size=4)
    (got, metrics), (expected, same) = (
        p(p.start(), b) for p, b in ((several, frames), (program(), pairs))
    )
    assert metrics == pytest.approx(same, rel=1e-5)
    assert_close(got.params, expected.params)


def test_averaged_parameters_follow_their_formula():
    final, _, path = on_one_device()
    leaf = ("backbone", "encoder", "block_01", "mlp", "fc_1", "kernel")

    def value(params):
        return np.float64(functools.reduce(lambda tree, key: tree[key], leaf, params))

    expected = value(random_variables(smoke().to_dict())["params"])
    for params in path:
        expected = 0.9 * expected + 0.1 * value(params)
    np.testing.assert_allclose(value(final.ema), expected, rtol=1e-5, atol=1e-7)
    assert np.abs(value(final.ema) - value(final.params)).max() > 1e-5
    assert final.eval_params is final.ema


def test_every_term_and_rate_is_reported_and_the_total_is_their_sum():
    weights = smoke().loss
    for step, metrics in enumerate(on_one_device()[1]):
        assert set(metrics) == {
            *("total", "focal", "giou", "l1", "abs", "pn", "iou", "grad_norm", "finite"),
            *("lr_backbone", "lr_default"),
        }
        terms = [weights[name] * metrics[name] for name in ("giou", "l1", "abs", "pn")]
        assert metrics["total"] == pytest.approx(metrics["focal"] + sum(terms), rel=1e-5)
        assert metrics["finite"] == 1
        drop = 0.1 if step >= STEPS_PER_EPOCH else 1  # the smoke variant drops after one epoch
        assert metrics["lr_backbone"] == pytest.approx(4e-5 * drop)
        assert metrics["lr_default"] == pytest.approx(4e-4 * drop)


def test_training_on_one_batch_lowers_its_loss():
    one = program()
    state, totals = one.start(), []
    for _ in range(STEPS_PER_EPOCH):
        state, metrics = one(state, make_batch(0))
        totals.append(metrics["total"])
    assert totals[-1] < 0.9 * totals[0]


@pytest.mark.parametrize("fault", ["search_brightness", "box_cxcywh", "score_target"])
def test_a_step_that_is_not_finite_says_so_and_changes_nothing(fault):
    one, batch = program(), make_batch(0)
    before = jax.device_get(one.start())
    batch[fault].flat[0] = np.nan
    after, metrics = one(one.start(), batch)
    assert metrics["finite"] == 0
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(after), before)


def test_degenerate_boxes_give_a_finite_loss_and_a_gradient():
    one, batch = program(), make_batch(0)
    batch["box_cxcywh"][:4, 0, 2:] = 0  # no area
    batch["box_cxcywh"][4:, 0, :2] = 3  # outside the crop: no peak in the heat map either
    batch["score_target"][4:] = 0
    before = jax.device_get(one.start().params)
    state, metrics = one(one.start(), batch)
    assert metrics["finite"] == 1
    assert metrics["grad_norm"] > 1e-3
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(),
        before["box_head"]["size"],
        state.params["box_head"]["size"],
    )
    assert moved["conv_5"]["kernel"] > 1e-5


def test_brightness_on_the_device_equals_the_pipelines():
    batch = make_batch(5)
    got = normalize_crops(batch["template"], batch["template_brightness"])
    for image, factor, ours in zip(
        batch["template"], batch["template_brightness"], got, strict=True
    ):
        np.testing.assert_allclose(ours, (brighten(image, factor) - MEAN) / STD, atol=2e-6)


def test_colours_on_the_device_equal_the_pipelines():
    rule = AugmentRule(0, 0, 0, 0.2, color_jitter=0.4)
    draws = [draw_sample(np.random.default_rng(i), rule, 1).template for i in range(4)]
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), np.uint8)
    brightness = np.float32([draw.brightness for draw in draws])
    got = normalize_crops(images, brightness, np.stack([draw.color for draw in draws]))
    for image, draw, ours in zip(images, draws, got, strict=True):
        seen = recolor(brighten(image, draw.brightness), draw.color)
        np.testing.assert_allclose(ours, (seen - MEAN) / STD, atol=5e-6)


def test_validation_is_the_network_without_training_parts_on_averaged_parameters():
    config, batch = smoke(), make_batch(7)
    mesh = sharding.make_mesh(jax.devices()[:1])
    variables = random_variables(config.to_dict())
    state = create_state(config, variables, mesh=mesh)
    other = jax.tree.map(lambda p: p * 1.01, variables["params"])
    state = state.replace(ema=jax.device_put(other, sharding.replicated(mesh)))
    step = make_eval_step(config, mesh)
    placed = sharding.put_batch(batch, mesh)
    metrics = step.lower(state, placed, RATIO).compile(compiler_options=FASTER)(state, placed)
    crops = [
        np.stack([(brighten(i, b) - MEAN) / STD for i, b in zip(images, factors, strict=True)])
        for images, factors in (
            (batch["template"], batch["template_brightness"]),
            (batch["search"][:, 0], batch["search_brightness"][:, 0]),
        )
    ]
    model = make_model(config.to_dict())
    out = jax.jit(functools.partial(model.apply, keep_ratio=RATIO))(
        {"params": other, "batch_stats": variables["batch_stats"]}, *crops
    )
    flat = {name: jnp.array(array[:, 0]) for name, array in batch.items() if array.ndim > 2}
    flat["box_cxcywh"] = batch["box_cxcywh"][:, 0]
    expected = tracking_loss(out, flat, config.loss)[1]
    assert set(metrics) == {"total", "focal", "giou", "l1", "iou", "pair_iou"}
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4)
    for pair, iou in enumerate(metrics["pair_iou"]):  # the mean IoU of a batch of that pair alone
        one = jax.tree.map(lambda array, pair=pair: array[pair : pair + 1], (out, flat))
        np.testing.assert_allclose(iou, tracking_loss(*one, config.loss)[1]["iou"], rtol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optim.accumulate": 3}, "8 pairs a step do not divide.*accumulate = 3.*batch_size"),
        ({"optim.accumulate": 0}, "accumulate is 1 or more, got 0"),
        ({"optim.batch_norm": "local"}, "'global' or 'device', got 'local'"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_compiled(overrides, message):
    config, mesh = smoke(**overrides), sharding.make_mesh(jax.devices()[:1])
    with pytest.raises(ValueError, match=message):
        make_train_step(config, mesh, STEPS_PER_EPOCH).lower(
            state_shapes(config, mesh), make_batch(0), RATIO
        )
