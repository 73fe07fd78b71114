"""What a run says when the device or the disk is full; as a process it is in test_train.py."""

import errno

import jax
import pytest

from configs.esat_vit_s224 import get_config
from launch import training_faults

CONFIG = get_config("smoke").to_dict()
FULL = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes.\nBuffers: ..."


def run_out_of_memory():
    with training_faults.memory_in_words(CONFIG):
        raise jax.errors.JaxRuntimeError(FULL)


def test_a_full_device_shows_the_plans_advice(monkeypatch):
    def advice(config, mesh):
        assert (config, mesh.devices.size) == (CONFIG, jax.device_count())
        return "A step needs 2.0 GiB of a device's 1.0 GiB."

    monkeypatch.setattr(training_faults, "advice", advice)
    with pytest.raises(ValueError, match="the device is out of memory: ") as caught:
        run_out_of_memory()
    assert "Out of memory while trying to allocate 123 bytes. A step needs" in str(caught.value)
    assert "Buffers" not in str(caught.value)


def test_a_device_too_full_to_compile_for_shows_what_saves_memory(monkeypatch):
    def advice(config, mesh):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: again")

    monkeypatch.setattr(training_faults, "advice", advice)
    with pytest.raises(ValueError, match=r"accumulate=2, .* --config.optim.remat=True"):
        run_out_of_memory()


def test_other_faults_of_the_device_are_not_taken_for_it():
    with pytest.raises(jax.errors.JaxRuntimeError), training_faults.memory_in_words(CONFIG):
        raise jax.errors.JaxRuntimeError("INTERNAL: no such kernel")


def test_a_full_disk_is_named_and_other_errors_stay_as_they_are(tmp_path):
    with (
        pytest.raises(ValueError, match=rf"^{tmp_path}: No space left on device; with more room"),
        training_faults.disk_in_words(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), training_faults.disk_in_words(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", "/file")
