import math

import pytest

from configs import esat_vit_b256
from esat_jax.initial_variables import variable_shapes
from esat_jax.latency import inference_latency


@pytest.mark.parametrize("template_range", ["CTR_POINT", "GT_BOX"])
def test_times_are_consistent_and_memory_is_that_of_the_weights(template_range):
    config = esat_vit_b256.get_config("smoke").to_dict()
    config["ce"]["template_range"] = template_range
    found = inference_latency(config, batch_size=3, repeats=20)
    assert 0 < found["latency_ms_p50"] <= found["latency_ms_p95"]
    assert found["compile_seconds"] > 0
    for name, milliseconds in (
        ("frames_per_second", "latency_ms_p50"),
        ("frames_per_second_queued", "queued_ms"),
    ):
        assert found[name] == pytest.approx(3 * 1e3 / found[milliseconds], rel=0.01)
    weights = sum(
        math.prod(shape)
        for path, shape in variable_shapes(config).items()
        if "position_head" not in path
    )
    crops = 3 * 3 * (config["template"]["size"] ** 2 + config["search"]["size"] ** 2)
    assert found["weights_mib"] == pytest.approx((4 * weights + crops) / 2**20, abs=0.1)
