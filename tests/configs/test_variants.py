"""The paper's tables as names: every row there, no row trained twice."""

import importlib
import itertools
import json
import pathlib

import pytest
from absl import flags
from ml_collections import config_flags

from configs.base import get_base_config
from configs.variants import TABLE_FILES, VARIANTS, apply_variants

FILES = (
    "esat_vit_b384",
    "esat_vit_b256",
    "esat_hivit_b384",
    "esat_hivit_b256",
    "esat_vit_s224",
)


def resolve(file, variants=""):
    return importlib.import_module(f"configs.{file}").get_config(variants)


def rows(table):
    return [name for name in VARIANTS if name.startswith(f"{table}_")]


def fingerprint(config):
    values = config.to_dict()
    if not values["fda"]["enabled"]:
        values["fda"] = None  # alpha, beta and delta are not used
    return json.dumps(values, sort_keys=True)


def runs(suffix="", tables=tuple(TABLE_FILES)):
    return {
        f"{file}:{name}": fingerprint(resolve(file, f"{name}{suffix}"))
        for table in tables
        for file in TABLE_FILES[table]
        for name in rows(table)
    }


@pytest.mark.parametrize(("table", "count"), [("t2", 8), ("t3", 10), ("t4", 7), ("t5", 8)])
def test_every_row_of_the_papers_tables_has_a_variant(table, count):
    assert len(rows(table)) == count


@pytest.mark.parametrize(
    ("name", "abs_weight", "pn_weight", "fda"),
    [
        ("t2_baseline", 0.0, 0.0, False),
        ("t2_abs_fda", 0.01, 0.0, True),
        ("t3_abs0.001", 0.001, 0.0, False),
        ("t3_pn1", 0.0, 1.0, False),
        ("t3_abs0.1_pn0.01", 0.1, 0.01, False),
        ("t5_full", 0.01, 0.1, True),
        ("ostrack", 0.0, 0.0, False),
    ],
)
def test_a_row_sets_the_three_components(name, abs_weight, pn_weight, fda):
    config = resolve("esat_vit_b384", name)
    assert (config.loss.abs, config.loss.pn, config.fda.enabled) == (abs_weight, pn_weight, fda)


def test_a_row_of_table_4_sets_both_forces():
    config = resolve("esat_hivit_b384", "t4_a1_b0.1")
    assert (config.fda.alpha, config.fda.beta) == (1.0, 0.1)


def test_forty_rows_are_thirty_five_runs():
    assert len(runs()) == 40
    assert len(set(runs().values())) == 35


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("esat_vit_b384:t3_abs0.01", "esat_vit_b384:t2_abs"),
        ("esat_vit_b384:t3_pn0.1", "esat_vit_b384:t2_pn"),
        ("esat_vit_b384:t3_abs0.01_pn0.1", "esat_vit_b384:t2_abs_pn"),
        ("esat_vit_b384:t4_a0.1_b0.1", "esat_vit_b384:t2_full"),
        ("esat_hivit_b384:t4_a0.1_b0.1", "esat_hivit_b384:t5_full"),
    ],
)
def test_rows_that_two_tables_share_are_one_run(first, second):
    assert runs()[first] == runs()[second]


def test_the_got10k_protocol_adds_twenty_three_runs():
    tables = ("t2", "t3", "t5")  # the tables with a GOT-10k column
    extra = set(runs(",got10k", tables).values())
    assert len(extra) == 23
    assert not extra & set(runs().values())


@pytest.mark.parametrize(("file", "name"), list(itertools.product(FILES, VARIANTS)))
def test_every_variant_applies_to_every_file(file, name):
    config = resolve(file, name)
    assert config.is_locked
    assert config.template.size % config.backbone.patch_size == 0
    assert config.search.size % config.backbone.patch_size == 0
    assert config.fda.delta == pytest.approx(config.backbone.heads / config.backbone.width)
    assert all(0 <= layer < config.backbone.depth for layer in config.ce.layers)
    assert len(config.ce.keep_ratio) == len(config.ce.layers)
    assert config.optim.lr_drop_epoch < config.optim.epochs


@pytest.mark.parametrize("file", FILES)
def test_no_file_adds_or_retypes_a_key(file):
    def types(config):
        return {
            key: types(value) if isinstance(value, dict) else type(value)
            for key, value in config.items()
        }

    assert types(resolve(file, "smoke").to_dict()) == types(get_base_config().to_dict())


@pytest.mark.parametrize("file", FILES)
def test_smoke_shrinks_any_file(file):
    config = resolve(file, "smoke")
    assert len(config.data.ratios) in (0, len(config.data.datasets))
    steps = config.optim.epochs * config.data.samples_per_epoch // config.batch_size
    assert (config.backbone.depth, steps) == (2, 20)
    assert config.search.size <= 64
    assert bool(config.ce.layers) == ("hivit" not in file)


def test_the_last_of_two_variants_wins():
    assert resolve("esat_vit_b384", "got10k").optim.epochs == 100
    assert resolve("esat_vit_b384", "got10k,smoke").optim.epochs == 2
    assert resolve("esat_vit_b384", "smoke,got10k").optim.epochs == 100


def test_an_unknown_variant_names_the_near_ones():
    with pytest.raises(ValueError, match=r"unknown variant 't2_ful'.*'t2_full'"):
        resolve("esat_vit_b384", "t2_ful")


def test_a_misspelt_key_is_an_error(monkeypatch):
    with pytest.raises(AttributeError, match="locked"):
        resolve("esat_vit_b384").loss.abss = 1.0
    monkeypatch.setitem(VARIANTS, "wrong", {"loss.abss": 1.0})
    with pytest.raises(KeyError, match="abss"):
        apply_variants(get_base_config(), "wrong")


@pytest.mark.parametrize("file", FILES)
def test_the_command_line_takes_variants_and_single_keys(file, monkeypatch):
    arguments = ["x", f"--config=configs/{file}.py:t2_full,got10k", "--config.optim.epochs=7"]
    monkeypatch.chdir(pathlib.Path(__file__).parents[2])
    monkeypatch.setattr("sys.argv", arguments)  # ml_collections reads the single keys from there
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    values(arguments)
    assert values.config.data.datasets == ("got10k_train",)
    assert values.config.optim.epochs == 7
    assert values.config.is_locked
