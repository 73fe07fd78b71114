"""The search for settings that fit, on made-up memory needs: compiling is tested elsewhere."""

import jax
import pytest

from configs import esat_vit_b256
from esat_jax import memory_advice
from esat_jax.memory_advice import advice, fitting_settings
from esat_jax.sharding import make_mesh
from esat_jax.step_timing import GIB, CompiledStep


@pytest.fixture
def needs(monkeypatch):
    """8 GiB for the state and 64 for activations, an eighth with remat, less with micro-batches."""

    def compile_step(config, mesh, keep_ratio):
        asked.append(keep_ratio)
        optim = config["optim"]
        activations = 64 / optim["accumulate"] / (8 if optim["remat"] else 1)
        return CompiledStep(None, 1.0, int((8 + activations) * GIB), int(activations * GIB))

    asked = []
    monkeypatch.setattr(memory_advice, "compile_step", compile_step)
    return asked


def search(memory, devices=1, batch_size=16, **optim):
    config = esat_vit_b256.get_config().to_dict()
    config |= {"batch_size": batch_size, "optim": config["optim"] | optim}
    tried = fitting_settings(config, make_mesh(jax.devices()[:devices]), memory=int(memory * GIB))
    return [(one.accumulate, one.remat, one.fits) for one in tried]


def test_settings_that_store_less_are_tried_up_to_the_first_that_fits(needs):
    assert search(80) == [(1, False, True)]
    assert search(20) == [(1, False, False), (1, True, True)]
    assert search(11) == [(1, False, False), (1, True, False), (2, True, False), (4, True, True)]
    assert set(needs) == {1.0}  # the first epoch's program is the largest


def test_micro_batches_have_at_least_one_pair_of_each_device(needs):
    assert search(4, devices=2, batch_size=8)[-1] == (4, True, False)
    assert search(4, devices=2, batch_size=12)[-1] == (2, True, False)  # 6 do not divide by 4


def test_configured_micro_batches_are_where_the_search_begins(needs):
    assert search(11, accumulate=2, remat=True) == [(2, True, False), (4, True, True)]


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (80, "A step needs 72.0 GiB of a device's 80.0 GiB, which fits: look for another program"),
        (20, "With --config.optim.accumulate=1 --config.optim.remat=True it needs 16.0 GiB"),
        (4, "and 8.5 GiB with all micro-batches and recomputation. Use more devices, a smaller"),
    ],
)
def test_advice_in_words(needs, memory, words):
    config = esat_vit_b256.get_config().to_dict() | {"batch_size": 16}
    assert words in advice(config, make_mesh(jax.devices()[:1]), memory=memory * GIB)
