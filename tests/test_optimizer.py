"""AdamW, its groups, its clipping and its schedules, against equations and PyTorch."""

import jax
import numpy as np
import optax
import pytest

from esat_jax.optimizer import learning_rate_shape, learning_rates, make_optimizer
from parity import read_config

STEPS, STEPS_PER_EPOCH, DROP_EPOCH = 30, 5, 4
RATES = {"backbone": 2e-3, "default": 2e-2}


def optim(**changes):
    values = read_config("esat_vit_b384").optim.to_dict()
    values |= {"lr": RATES, "lr_drop_epoch": DROP_EPOCH, "epochs": 6, "weight_decay": 0.05}
    return values | changes


def problem(seed=0):
    """Parameters of three modules, and gradients whose norm is now above, now under the limit."""
    rng = np.random.default_rng(seed)
    shapes = {"backbone": (4, 3), "box_head": (5,), "position_head": (2, 2)}
    params = {name: {"kernel": rng.normal(size=s)} for name, s in shapes.items()}
    gradients = [
        jax.tree.map(lambda p, k=k: rng.normal(size=p.shape) * (0.3 if k % 3 else 0.01), params)
        for k in range(STEPS)
    ]
    return jax.tree.map(np.float32, (params, gradients))


def ours(settings, params, gradients):
    optimizer = make_optimizer(settings, params, STEPS_PER_EPOCH)
    update, state = jax.jit(optimizer.update), optimizer.init(params)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return {name: module["kernel"] for name, module in params.items()}


def test_thirty_steps_equal_the_update_equations():
    params, gradients = problem()
    expected = {name: np.float64(module["kernel"]) for name, module in params.items()}
    first = {name: np.zeros_like(value) for name, value in expected.items()}
    second = {name: np.zeros_like(value) for name, value in expected.items()}
    for t, gradient in enumerate(gradients, start=1):
        gradient = {name: np.float64(module["kernel"]) for name, module in gradient.items()}
        norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
        for name, g in gradient.items():
            g = g * min(1, 0.1 / norm)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            step = first[name] / (1 - 0.9**t) / (np.sqrt(second[name] / (1 - 0.999**t)) + 1e-8)
            rate = RATES["backbone" if name == "backbone" else "default"]
            rate *= 0.1 if t > DROP_EPOCH * STEPS_PER_EPOCH else 1
            expected[name] -= rate * (step + 0.05 * expected[name])
    got = ours(optim(), params, gradients)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-5, atol=2e-6)


@pytest.mark.torch
def test_thirty_steps_equal_pytorch():
    torch = pytest.importorskip("torch")
    params, gradients = problem(seed=1)
    tensors = {
        name: torch.nn.Parameter(torch.tensor(module["kernel"])) for name, module in params.items()
    }
    groups = [
        {"params": [tensors["backbone"]], "lr": RATES["backbone"]},
        {"params": [tensors["box_head"], tensors["position_head"]], "lr": RATES["default"]},
    ]
    adamw = torch.optim.AdamW(groups, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.StepLR(adamw, DROP_EPOCH)
    for k, gradient in enumerate(gradients, start=1):
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradient[name]["kernel"])
        torch.nn.utils.clip_grad_norm_(tensors.values(), 0.1)
        adamw.step()
        if k % STEPS_PER_EPOCH == 0:
            schedule.step()
    got = ours(optim(), params, gradients)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(got[name], tensor.detach().numpy(), rtol=5e-5, atol=5e-6)


def test_the_paper_drops_the_rates_after_240_whole_epochs():
    settings = read_config("esat_vit_b384").optim
    last_before, first_after = 240 * 468 - 1, 240 * 468
    before, after = (learning_rates(settings, 468, step) for step in (last_before, first_after))
    assert before == {
        "lr_backbone": pytest.approx(4e-5),
        "lr_default": pytest.approx(4e-4),
    }
    assert {name: float(rate) for name, rate in after.items()} == {
        "lr_backbone": pytest.approx(4e-6),
        "lr_default": pytest.approx(4e-5),
    }


def test_warm_up_rises_linearly_and_cosine_ends_at_zero():
    shape = learning_rate_shape(optim(schedule="cosine", warmup_steps=4), STEPS_PER_EPOCH)
    got = [float(shape(step)) for step in range(31)]
    cosine = [(1 + np.cos(np.pi * step / 30)) / 2 for step in range(31)]
    rise = [min((step + 1) / 4, 1) for step in range(31)]
    np.testing.assert_allclose(got, np.multiply(cosine, rise), atol=1e-6)
    assert got[30] == pytest.approx(0, abs=1e-7)
    assert float(learning_rate_shape(optim(warmup_steps=4), STEPS_PER_EPOCH)(1)) == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": {"bakbone": 1e-4, "default": 1e-3}}, r"names \['bakbone'\].*'backbone'"),
        ({"lr": {"backbone": 1e-4}}, r"gives \['box_head', 'position_head'\] no rate"),
        ({"schedule": "linear"}, "one of .*'step', 'cosine'.*got 'linear'"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(optim(**changes), problem()[0], STEPS_PER_EPOCH)
