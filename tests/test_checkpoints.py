import contextlib
import json
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from configs import esat_vit_b256
from esat_jax import sharding
from esat_jax.checkpoints import CheckpointError, Checkpoints, restore_state, save_state
from esat_jax.config_differences import config_differences
from esat_jax.train_state import state_places, state_shapes

CONFIG = {"seed": 1, "optim": {"lr": {"default": 0.1}}, "data": {"root": "/a"}, "spl": (3, 2)}


@struct.dataclass
class State:
    step: jax.Array
    params: dict
    rng: jax.Array
    ema: dict | None = None


def make_state(number):
    kernel = jax.random.normal(jax.random.key(number), (400, 300))
    rng = jax.random.key_data(jax.random.key(7))
    return State(jnp.int32(number), {"kernel": kernel, "bias": jnp.arange(3.0)}, rng)


def open_checkpoints(folder, config=CONFIG, keep_last=2, keep_best=1):
    return Checkpoints(folder, config, keep_last=keep_last, keep_best=keep_best)


def write(folder, steps, ious=None):
    checkpoints = open_checkpoints(folder)
    for step in steps:
        checkpoints.save(step, make_state(step), {"step": step}, (ious or {}).get(step))
    checkpoints.wait()
    return checkpoints


def assert_same(state, other):
    assert jax.tree.structure(state) == jax.tree.structure(other)
    for one, two in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


def test_the_newest_comes_back_to_the_bit(tmp_path):
    write(tmp_path / "c", [1, 2]).close()
    step, state, data_state = open_checkpoints(tmp_path / "c").restore(make_state(0))
    assert (step, data_state) == (2, {"step": 2})
    assert_same(state, make_state(2))


def test_arrays_come_back_where_they_shall_be(tmp_path):
    write(tmp_path / "c", [1]).close()
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    split = jax.NamedSharding(mesh, jax.P("data"))
    like = make_state(0)
    like = like.replace(
        params=like.params | {"kernel": jax.device_put(like.params["kernel"], split)}
    )
    _, state, _ = open_checkpoints(tmp_path / "c").restore(like)
    assert state.params["kernel"].sharding == split
    assert_same(state, make_state(1))


def test_a_state_split_over_devices_comes_back_split_or_whole(tmp_path):
    config = esat_vit_b256.get_config("smoke")
    config.optim.fsdp = True
    devices = sharding.make_mesh()
    rng = np.random.default_rng(0)
    values = jax.tree.map(
        lambda leaf: rng.integers(0, 100, leaf.shape).astype(leaf.dtype),
        state_shapes(config, devices),
    )
    split = jax.device_put(values, state_places(config, devices))
    kernel = split.params["backbone"]["encoder"]["block_00"]["mlp"]["fc_1"]["kernel"]
    assert kernel.addressable_shards[0].data.size == kernel.size // 8
    checkpoints = open_checkpoints(tmp_path / "c", config.to_dict())
    checkpoints.save(1, split, {"step": 1})
    checkpoints.close()
    for fsdp, mesh in ((True, devices), (False, sharding.make_mesh(jax.devices()[:1]))):
        config.optim.fsdp = fsdp
        like = state_shapes(config, mesh)
        _, state, _ = open_checkpoints(tmp_path / "c", config.to_dict()).restore(like)
        assert_same(state, values)
        places = jax.tree.map(lambda leaf: leaf.sharding, state)
        assert places == jax.tree.map(lambda leaf: leaf.sharding, like)


def test_nothing_to_restore(tmp_path):
    assert open_checkpoints(tmp_path / "c").restore(make_state(0)) is None


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    checkpoints = write(tmp_path / "c", range(1, 8), {2: 0.5, 3: 0.7, 5: 0.6})
    assert checkpoints.steps == [3, 6, 7]
    assert checkpoints.best_step == 3


def test_without_validation_none_is_the_best(tmp_path):
    checkpoints = write(tmp_path / "c", [1, 2, 3])
    assert checkpoints.steps == [2, 3]
    assert checkpoints.best_step is None


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


DAMAGE = {
    "arrays": lambda folder: cut(largest(folder)),
    "names": lambda folder: cut(folder / "state" / "_METADATA"),
    "data position": lambda folder: cut(folder / "data" / "metadata"),
    "config": lambda folder: (folder / "config" / "metadata").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_newest_one_falls_back_and_says_so(tmp_path, caplog, damage):
    folder = tmp_path / "c"
    write(folder, [1, 2]).close()
    damage(folder / "2")
    checkpoints = open_checkpoints(folder)
    step, state, data_state = checkpoints.restore(make_state(0))
    assert (step, data_state) == (1, {"step": 1})
    assert_same(state, make_state(1))
    assert "checkpoint 2 is damaged" in caplog.text
    assert "going on from the one before it, 1" in caplog.text
    checkpoints.save(2, make_state(2), {"step": 2})  # its number is free again
    checkpoints.close()
    step, state, _ = open_checkpoints(folder).restore(make_state(0))
    assert step == 2
    assert_same(state, make_state(2))


def test_whatever_file_is_cut_or_missing_the_state_is_one_that_was_saved(tmp_path, caplog):
    write(tmp_path / "whole", [1, 2]).close()
    names = [p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole" / "2").rglob("*")]
    names = [name for name in names if (tmp_path / "whole" / name).is_file()]
    assert len(names) > 10
    for damage in (cut, lambda path: path.unlink()):
        fallen_back = set()
        for number, name in enumerate(names):
            folder = tmp_path / damage.__name__ / str(number) / "c"
            shutil.copytree(tmp_path / "whole", folder)
            damage(folder / name)
            caplog.clear()
            checkpoints = open_checkpoints(folder)
            step, state, data_state = checkpoints.restore(make_state(0))
            checkpoints.close()
            assert data_state == {"step": step}
            assert_same(state, make_state(step))
            assert (step == 1) == ("going on from the one before it, 1" in caplog.text)
            if step == 1:
                fallen_back.add(name.parts[1])
        assert fallen_back == {"state", "data", "config"}


def test_a_damaged_iou_counts_as_none(tmp_path, caplog):
    folder = tmp_path / "c"
    write(folder, [1, 2], {1: 0.5, 2: 0.7}).close()
    cut(folder / "2" / "metrics" / "metrics")
    checkpoints = open_checkpoints(folder)
    assert checkpoints.steps == [1, 2]
    assert checkpoints.best_step == 1
    assert "2/metrics/metrics is damaged" in caplog.text


@contextlib.contextmanager
def files_of_at_most(size):
    """As a disk with no more room than that: the system refuses what is written after it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_room_for_a_checkpoint_is_one_sentence_and_spares_the_earlier_ones(tmp_path):
    folder = tmp_path / "c"
    sentence = rf"{folder}: a checkpoint could not be written \(File too large\); "
    checkpoints = open_checkpoints(folder)
    with files_of_at_most(100_000):
        checkpoints.save(1, make_state(1), {"step": 1})
        with pytest.raises(CheckpointError, match=f"{sentence}there is no other one"):
            checkpoints.wait()
    write(folder, [1, 2]).close()
    checkpoints = open_checkpoints(folder)
    with files_of_at_most(100_000):
        checkpoints.save(3, make_state(3), {"step": 3})
        with pytest.raises(CheckpointError, match=f"{sentence}.* the one of step 2"):
            checkpoints.save(4, make_state(4), {"step": 4})
    checkpoints = open_checkpoints(folder)
    assert checkpoints.steps == [1, 2]
    step, state, _ = checkpoints.restore(make_state(0))
    assert step == 2
    assert_same(state, make_state(2))


def test_a_folder_that_cannot_be_written_to_is_found_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        open_checkpoints(tmp_path / "file")
    folder = tmp_path / "system"
    folder.symlink_to("/proc/self")  # not even root can write there
    with pytest.raises(OSError, match="system"):
        open_checkpoints(folder)


def test_when_all_are_damaged_nothing_is_begun_anew(tmp_path):
    write(tmp_path / "c", [1, 2]).close()
    for step in (1, 2):
        cut(largest(tmp_path / "c" / str(step)))
    with pytest.raises(ValueError, match=r"none of the checkpoints \[1, 2\] can be read"):
        open_checkpoints(tmp_path / "c").restore(make_state(0))
    assert (tmp_path / "c" / "2").exists()


def test_an_interrupted_write_does_not_look_whole(tmp_path):
    folder = tmp_path / "c"
    write(folder, [1, 2]).close()
    (folder / "2").rename(folder / "2.orbax-checkpoint-tmp")  # the name until it is complete
    checkpoints = open_checkpoints(folder)
    assert checkpoints.steps == [1]
    assert checkpoints.restore(make_state(0))[0] == 1


def test_a_checkpoint_of_another_config_is_refused_in_words(tmp_path):
    write(tmp_path / "c", [1]).close()
    other = CONFIG | {"optim": {"lr": {"default": 0.2}}}
    sentence = r"another configuration: optim.lr.default was 0.1 and is 0.2\. Use another --workdir"
    with pytest.raises(ValueError, match=sentence):
        open_checkpoints(tmp_path / "c", other).restore(make_state(0))
    smaller = make_state(0).replace(params={"kernel": jnp.zeros((2, 3))})
    with pytest.raises(ValueError, match=sentence):
        open_checkpoints(tmp_path / "c", other).restore(smaller)


def test_what_does_not_change_the_training_may_differ():
    stored = json.loads(json.dumps(CONFIG))
    assert config_differences(stored, CONFIG | {"data": {"root": "/b"}}) == []
    split = CONFIG | {"optim": CONFIG["optim"] | {"fsdp": True}}
    assert config_differences(stored, split) == []
    assert config_differences(stored, CONFIG | {"seed": 2}) == ["seed was 1 and is 2"]
    assert config_differences(stored, CONFIG | {"new": 2}) == ["new was not there and is 2"]


@pytest.mark.parametrize("numbers", [(0, 1), (1, -1)])
def test_impossible_numbers_to_keep(tmp_path, numbers):
    with pytest.raises(ValueError, match="keep_last must be 1 or more"):
        open_checkpoints(tmp_path / "c", CONFIG, *numbers)


def test_a_single_state_is_written_and_read(tmp_path):
    save_state(tmp_path / "state", make_state(3))
    assert_same(restore_state(tmp_path / "state", make_state(0)), make_state(3))
