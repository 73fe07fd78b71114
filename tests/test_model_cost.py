import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from configs import (
    esat_hivit_b256,
    esat_hivit_b384,
    esat_vit_b256,
    esat_vit_b384,
    esat_vit_s224,
)
from esat_jax import model_cost as costs
from esat_jax.initial_variables import variable_shapes
from esat_jax.model_cost import model_cost
from esat_jax.models.esat import make_model
from esat_jax.ops.fda import fda_logits

# Numbers of the original trackers: thop's parameters and MACs (G where the digits are not known),
# G MACs with both products of attention, all parameters of the PyTorch file, those never read.
ORIGINALS = {
    "OSTrack-384": (92_082_309, 48_317_979_456, 54.09, 92_825_733, 152_064),
    "OSTrack-384 without elimination": (92_082_309, 65_307_269_952, 74.86, 92_825_733, 152_064),
    "OSTrack-256": (92_082_309, 21_499_299_072, 22.64, 92_518_533, 152_064),
    "OSTrack-256 without elimination": (92_082_309, 29_025_453_312, 30.91, 92_518_533, 152_064),
    "HiViT-384": (70_345_221, 57.895, 68.51, 70_862_597, 100_352),
    "HiViT-256": (70_345_221, 25.731, 27.83, 70_657_797, 100_352),
}
CONFIGS = {
    "OSTrack-384": esat_vit_b384.get_config("t2_baseline"),
    "OSTrack-384 without elimination": esat_vit_b384.get_config("t2_baseline,no_ce"),
    "OSTrack-256": esat_vit_b256.get_config("t2_baseline"),
    "OSTrack-256 without elimination": esat_vit_b256.get_config("t2_baseline,no_ce"),
    "HiViT-384": esat_hivit_b384.get_config("t5_baseline"),
    "HiViT-256": esat_hivit_b256.get_config("t5_baseline"),
}


def with_keys(config, **keys):
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict({key.replace("__", "."): keys[key] for key in keys})
    return config.to_dict()


@pytest.mark.parametrize("name", ORIGINALS)
def test_counts_are_those_of_the_original_trackers(name):
    thop_parameters, thop_macs, giga_macs, in_file, never_read = ORIGINALS[name]
    cost = model_cost(CONFIGS[name].to_dict())
    assert cost.training == cost.inference  # no position head
    total = cost.inference
    assert total.thop_parameters == thop_parameters
    found = total.thop_macs if isinstance(thop_macs, int) else round(total.thop_macs / 1e9, 3)
    assert found == thop_macs
    products = cost.parts[costs.PRODUCTS].macs
    assert round((total.thop_macs + products) / 1e9, 2) == giga_macs
    assert round(total.macs / 1e9, 2) == giga_macs
    assert sum(cost.unused_in_torch.values()) == never_read
    assert total.parameters == in_file - never_read


def test_elimination_leaves_404_283_and_199_tokens():
    cost = model_cost(CONFIGS["OSTrack-384"].to_dict())
    assert (cost.num_search, cost.kept) == (576, {3: 404, 6: 283, 9: 199})


def test_the_parts_of_hivit_384():
    parts = model_cost(CONFIGS["HiViT-384"].to_dict()).parts
    parameters = {name: cost.parameters for name, cost in parts.items() if cost.parameters}
    assert parameters == {
        "patch embedding": 6_528,
        costs.POSITIONS: 368_640,
        "stage 1": 396_288,
        "merge 1": 132_096,
        "stage 2": 1_579_008,
        "merge 2": 526_336,
        "encoder": 63_047_680 + 1_024,
        "box head": 4_704_645,
    }
    giga_macs = {name: round(cost.macs / 1e9, 3) for name, cost in parts.items() if cost.macs}
    assert giga_macs == {
        "patch embedding": 0.071,
        "stage 1": 4.530,
        "merge 1": 0.377,
        "stage 2": 4.530,
        "merge 2": 0.377,
        "encoder": 45.298,
        costs.PRODUCTS: 10.617,
        "box head": 2.707,
    }


@pytest.mark.parametrize(
    ("channels", "shared", "mega_parameters", "giga_macs"),
    [((384, 192, 96), False, 6.97, 2.51), ((256, 256, 128), True, 2.66, 1.91)],
)
def test_the_two_designs_in_table_2(channels, shared, mega_parameters, giga_macs):
    config = with_keys(
        esat_vit_b384.get_config("t2_abs"), spl__channels=channels, spl__shared=shared
    )
    cost = model_cost(config)
    fcns, baseline = cost.parts[costs.FCNS], model_cost(CONFIGS["OSTrack-384"].to_dict())
    assert cost.inference == baseline.inference
    assert round(fcns.thop_parameters / 1e6, 2) == mega_parameters
    assert round(fcns.thop_macs / 1e9, 2) == giga_macs
    classifiers = cost.parts[costs.CLASSIFIERS]
    width = channels[-1]
    assert classifiers == costs.Cost(*2 * [width * (576 + 2)], *2 * [720 * width * (576 + 2)])
    assert cost.training == cost.inference + fcns + classifiers


def test_forces_add_nothing_that_thop_sees():
    plain = model_cost(CONFIGS["OSTrack-384"].to_dict())
    forces = model_cost(esat_vit_b384.get_config("t2_fda").to_dict())
    assert forces.inference.thop_macs == plain.inference.thop_macs
    assert forces.inference.parameters == plain.inference.parameters
    added = forces.parts.pop(costs.FORCES)
    assert forces.parts == plain.parts
    tokens = [720] * 4 + [548] * 3 + [427] * 3 + [343] * 2  # in attention, block by block
    for_rows = (1 + 720) + (1 + 548) + (1 + 427)
    assert added.macs == 768 * (2 * sum(tokens) + for_rows)
    assert forces.force_pairs == 12 * sum(n * n for n in tokens)
    assert plain.force_pairs == 0


def equations(jaxpr):
    """All equations of a program, those of the functions it calls included."""
    for equation in jaxpr.eqns:
        assert equation.primitive.name not in ("scan", "while"), "counted once, run often"
        yield equation
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def macs_of_program(jaxpr):
    """Multiply-adds of every matrix product and convolution, from the shapes of the operands."""
    total = 0
    for equation in equations(jaxpr):
        shapes = [value.aval.shape for value in (*equation.invars, *equation.outvars)]
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += math.prod(shapes[2]) * math.prod(shapes[0][axis] for axis in contracted)
        if equation.primitive.name == "conv_general_dilated":
            assert equation.params["feature_group_count"] == 1
            features = equation.params["dimension_numbers"].rhs_spec[0]
            total += math.prod(shapes[2]) * math.prod(shapes[1]) // shapes[1][features]
    return total


SMALL = esat_vit_b256.get_config("smoke")
PROGRAMS = {
    "ViT-B 384": esat_vit_b384.get_config().to_dict(),
    "small, class token and layer scale": esat_vit_s224.get_config("smoke").to_dict(),
    "small, one FCN for both maps": with_keys(SMALL, spl__shared=True),
    "small HiViT": esat_hivit_b256.get_config("smoke").to_dict(),
    "small, no forces": with_keys(SMALL, fda__enabled=False),
    **{
        f"small, ranked by {name}": with_keys(SMALL, ce__template_range=name)
        for name in ("CTR_REC", "GT_BOX", "ALL")
    },
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_macs_are_those_of_the_traced_program(name):
    config = PROGRAMS[name]
    # Attention as one product of matrices; a CPU's own form loops over the heads.
    config = {**config, "fda": {**config["fda"], "implementation": "xla"}}
    model, cost = make_model(config), model_cost(config)
    variables = {"params": {}, "batch_stats": {}}
    for path, shape in variable_shapes(config).items():
        *modules, leaf = path.split("/")
        node = variables
        for module in modules:
            node = node.setdefault(module, {})
        node[leaf] = jax.ShapeDtypeStruct(shape, jnp.float32)
    crops = [
        jax.ShapeDtypeStruct((1, config[side]["size"], config[side]["size"], 3), jnp.uint8)
        for side in ("template", "search")
    ]
    for train, total in ((False, cost.inference), (True, cost.training)):

        def forward(variables, template, search, train=train):
            return model.apply(
                variables,
                template,
                search,
                template_box_cxcywh=jnp.full((1, 4), 0.5),
                train=train,
                rngs={"dropout": jax.random.key(0)},
                mutable=["batch_stats"],
            )

        program = jax.make_jaxpr(forward)(variables, *crops)
        assert macs_of_program(program.jaxpr) == total.macs
    assert cost.training.parameters == sum(
        math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])
    )


def test_the_operations_of_forces_on_each_pair_are_counted():
    def operations(**forces):
        tokens = jnp.zeros((1, 7, 2, 8))
        program = jax.make_jaxpr(lambda x: fda_logits(x, x, **forces))(tokens)
        names = [
            equation.primitive.name
            for equation in equations(program.jaxpr)
            if equation.outvars[0].aval.shape == (1, 2, 7, 7)
        ]
        moves = {"dot_general", "broadcast_in_dim", "convert_element_type", "pjit", "jit"}
        return [name for name in names if name not in moves]

    plain = operations(alpha=0.0, beta=0.0, delta=0.1)
    forces = operations(alpha=0.2, beta=0.3, delta=0.1)
    assert plain == ["mul"]
    assert forces.count("exp") == 1
    assert len(forces) - len(plain) == costs.FORCE_OPERATIONS


def test_a_layer_without_a_rule_is_named(monkeypatch):
    monkeypatch.delitem(costs._RULES, nn.Conv)
    with pytest.raises(ValueError, match=r"/conv_\d/kernel belongs to a module"):
        model_cost(SMALL.to_dict())
