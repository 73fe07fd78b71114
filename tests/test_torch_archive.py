from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from esat_jax.torch_archive import write_torch_file
from esat_jax.torch_pickle import read_torch_file

CONTENT = {
    "net": OrderedDict(
        z=np.arange(6, dtype=np.float32).reshape(2, 3),
        a=np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
        big_endian=np.arange(3, dtype=">f4"),
        count=np.array(7, np.int64),
        empty=np.zeros((0, 3)),
        half=np.ones((2, 1, 2), np.float16),
        flags=np.array([True, False]),
    ),
    "epoch": 300,
    "net_type": "OSTrack",
    "others": [None, True, False, 2**40, -(2**40), -1, 0.1, "ü" * 300, (1, ()), {}, {1: {"x": []}}],
}


def assert_same(result, expected):
    assert list(result["net"]) == list(expected["net"])
    for name, value in expected["net"].items():
        got = np.asarray(result["net"][name])
        assert (got.dtype, got.shape) == (value.dtype.newbyteorder("="), value.shape), name
        np.testing.assert_array_equal(got, value)
    for name in expected.keys() - {"net"}:
        assert result[name] == expected[name]


@pytest.mark.torch
@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("mmap", [True, False])
def test_torch_loads_the_file_and_its_order(tmp_path, weights_only, mmap):
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pth.tar"
    write_torch_file(path, CONTENT | {"bf16": np.array([1, -2], ml_dtypes.bfloat16)})
    result = torch.load(path, weights_only=weights_only, mmap=mmap)
    assert_same(result, CONTENT)
    assert torch.equal(result["bf16"], torch.tensor([1, -2], dtype=torch.bfloat16))


@pytest.mark.torch
def test_what_torch_loaded_can_be_changed_and_saved(tmp_path):
    torch = pytest.importorskip("torch")
    write_torch_file(tmp_path / "x.pth", {"w": np.zeros((2, 2), np.float32)})
    weight = torch.load(tmp_path / "x.pth")["w"]
    assert weight.is_contiguous()
    weight += 1
    torch.save(weight, tmp_path / "y.pth")
    np.testing.assert_array_equal(read_torch_file(tmp_path / "y.pth"), np.ones((2, 2)))


def test_our_reader_reads_the_file(tmp_path):
    write_torch_file(tmp_path / "x.pth.tar", CONTENT)
    assert_same(read_torch_file(tmp_path / "x.pth.tar"), CONTENT)


def test_storages_start_at_multiples_of_64_bytes(tmp_path):
    write_torch_file(
        tmp_path / "x.pth", {"a": np.full(3, 77, np.uint8), "b": np.full(5, 78, np.uint8)}
    )
    raw = (tmp_path / "x.pth").read_bytes()
    assert raw.index(b"M" * 3) % 64 == raw.index(b"N" * 5) % 64 == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [({1, 2}, "got <class 'set'>"), (np.zeros(2, np.uint32), "uint32"), (np.array(["a"]), "<U1")],
)
def test_what_torch_cannot_hold_is_refused_and_leaves_no_file(tmp_path, value, message):
    with pytest.raises(ValueError, match=message):
        write_torch_file(tmp_path / "x.pth", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.pth"
    write_torch_file(path, {"a": 1})
    with pytest.raises(ValueError, match="numbers, text and arrays"):
        write_torch_file(path, {"a": object()})
    assert read_torch_file(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
