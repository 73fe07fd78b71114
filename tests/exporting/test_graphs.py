"""The two graphs, one after the other, are the network."""

import jax
import numpy as np
import pytest
from flax import traverse_util

import detweights
from configs import esat_hivit_b256, esat_vit_s224
from esat_jax.exporting.graphs import make_graphs
from esat_jax.initial_variables import variable_shapes
from esat_jax.models.esat import inference_variables
from esat_jax.tracker import make_search_step, needs_template_box
from tiny_tracker import make_tiny


def of_config(module, **overrides):
    config = module.get_config("smoke")
    config.update_from_flattened_dict(overrides)
    config = config.to_dict()
    flat = {
        path: 0.2 * detweights.normal(path, shape).astype(np.float32)
        + path.endswith(("scale", "var"))
        for path, shape in variable_shapes(config).items()
    }
    return config, traverse_util.unflatten_dict(flat, sep="/")


def of_tiny(**overrides):
    config, variables = make_tiny(**overrides)
    return config.to_dict(), variables


TRACKERS = {
    "ViT-B": of_tiny,
    "ViT-B, ranked by the box": lambda: of_tiny(**{"ce.template_range": "GT_BOX"}),
    "ViT-S/14, with a class token and a mark": lambda: of_config(
        esat_vit_s224, **{"backbone.target_mark": True}
    ),
    "HiViT": lambda: of_config(esat_hivit_b256),
}


def crops(config, i):
    image = detweights.smooth_image(f"graphs{i}", 256, 256, cells=(32, 16))
    side = {name: config[name]["size"] for name in ("template", "search")}
    first = image[: side["template"], : side["template"]]
    return first[None], image[-side["search"] :, -side["search"] :][None]


def run_graphs(graphs, constants, values):
    for graph in graphs:
        found = graph.function(constants, *(values[name] for name in graph.inputs))
        values = {**values, **dict(zip(graph.outputs, found, strict=True))}
    return values


@pytest.mark.parametrize("name", TRACKERS)
def test_template_and_search_make_the_search_step(name):
    config, variables = TRACKERS[name]()
    config = {**config, "compute_dtype": "float32"}
    constants, graphs = make_graphs(config, variables, "float32")
    step = make_search_step(config)
    box_is_read = needs_template_box(config)

    @jax.jit
    def both(constants, variables, values):
        crops = values["template"], values["search"]
        box_cxcywh = values["template_box_cxcywh"] if box_is_read else None
        return run_graphs(graphs, constants, values), step(variables, *crops, box_cxcywh)

    variables = inference_variables(variables, config)
    for i in range(2):
        template, search = crops(config, i)
        box_cxcywh = np.array([[0.5, 0.45, 0.3 + 0.2 * i, 0.5]], np.float32)
        values = {"template": template, "search": search, "template_box_cxcywh": box_cxcywh}
        found, expected = both(constants, variables, values)
        np.testing.assert_allclose(found["box_cxcywh"], expected[0], atol=1e-5)
        np.testing.assert_allclose(found["score"], expected[1], atol=1e-5)


def test_graphs_take_what_they_read():
    config, variables = of_tiny()
    side = {name: config[name]["size"] for name in ("template", "search")}
    _, (template, search) = make_graphs(config, variables, "float32")
    assert {name: x.shape for name, x in template.inputs.items()} == {
        "template": (1, side["template"], side["template"], 3)
    }
    assert {name: (x.shape, x.dtype) for name, x in search.inputs.items()} == {
        "template_tokens": ((1, 4, 128), np.float32),
        "search": ((1, side["search"], side["search"], 3), np.uint8),
    }
    config["ce"]["template_range"] = "GT_BOX"  # candidates are ranked where the search crop is
    _, (template, search) = make_graphs(config, variables, "float32")
    assert list(template.inputs) == ["template"]
    assert list(search.inputs) == ["template_tokens", "template_box_cxcywh", "search"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_near_and_half_as_large(dtype):
    config, variables = of_tiny()
    crop = crops(config, 0)[0]
    tokens, sizes = {}, {}
    for name in ("float32", dtype):
        constants, (template, search) = make_graphs(config, variables, name)
        (tokens[name],) = jax.jit(template.function)(constants, crop)
        sizes[name] = sum(x.nbytes for x in constants.values())
        assert tokens[name].dtype == search.inputs["template_tokens"].dtype == name
        found = jax.eval_shape(search.function, constants, *search.inputs.values())
        assert [x.dtype for x in found] == [np.float32, np.float32]
    assert sizes[dtype] < 0.6 * sizes["float32"]
    half, whole = (np.asarray(x, np.float32) for x in (tokens[dtype], tokens["float32"]))
    assert 1e-5 < np.abs(half - whole).max() / np.abs(whole).max() < 1e-2
