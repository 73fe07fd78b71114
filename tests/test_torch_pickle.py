"""Oracles: PyTorch itself writes the good files; the bad ones are made by hand from good ones."""

import io
import os
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from esat_jax.inert_pickle import Inert
from esat_jax.torch_pickle import read_torch_file

FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def storage(key="0", count=4, kind="ctorch\nFloatStorage\n"):
    """Opcodes of a persistent id."""
    return (
        b"(X\x07\x00\x00\x00storage" + kind.encode() + b"X" + struct.pack("<I", len(key))
        + key.encode() + b"X\x03\x00\x00\x00cpuJ" + struct.pack("<i", count) + b"tQ"
    )  # fmt: skip


def tensor(offset=0, shape=(4,), strides=(1,), **storage_options):
    """Opcodes of a tensor."""
    numbers = [b"J" + struct.pack("<i", n) for n in (offset, *shape, *strides)]
    shape_code = b"(" + b"".join(numbers[1 : 1 + len(shape)]) + b"t"
    stride_code = b"(" + b"".join(numbers[1 + len(shape) :]) + b"t"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(**storage_options) + numbers[0]
        + shape_code + stride_code + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


FOUR = np.arange(4, dtype="<f4").tobytes()


def write_zip(path, pickled, data=FOUR, members=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickled + b".")
        archive.writestr("archive/data/0", data)
        for name, content in members:
            archive.writestr(name, content)
    return path


@FORMS
@pytest.mark.torch
def test_every_type_of_tensor_comes_back_bitwise(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    dtypes = "float32 float64 float16 int64 int32 int16 int8 uint8 bool complex64 complex128"
    base = torch.arange(24).reshape(2, 3, 4)
    saved = {name: base.to(getattr(torch, name)) for name in dtypes.split()}
    saved |= {"transposed": base.float().mT, "cut": base[:, 1:, ::2], "scalar": torch.tensor(7)}
    saved |= {"empty": torch.zeros(0, 3), "parameter": torch.nn.Parameter(base[0].float())}
    path = tmp_path / "x.pth"
    torch.save(saved | {"bfloat16": base.bfloat16()}, path, _use_new_zipfile_serialization=zipped)
    result = read_torch_file(path)
    for name, value in saved.items():
        expected = value.detach().numpy()
        assert result[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(result[name], expected, err_msg=name)
        assert result[name].shape == expected.shape
    assert result["bfloat16"].dtype == ml_dtypes.bfloat16
    bits = base.bfloat16().view(torch.int16).numpy()
    np.testing.assert_array_equal(result["bfloat16"].view(np.int16), bits)


@FORMS
@pytest.mark.torch
def test_a_full_checkpoint_of_the_ostrack_family_is_read(tmp_path, monkeypatch, zipped):
    """As its trainer writes it: weights, optimiser, and objects of classes we do not have."""
    torch = pytest.importorskip("torch")
    classes = {}
    for module, name in (("settings", "Settings"), ("local", "EnvironmentSettings"),
                         ("stats", "AverageMeter"), ("stats", "StatValue")):  # fmt: skip
        path = f"lib.train.admin.{module}"
        for parent in ("lib", "lib.train", "lib.train.admin", path):
            monkeypatch.setitem(
                sys.modules, parent, sys.modules.get(parent) or types.ModuleType(parent)
            )
        classes[name] = type(name, (), {"__module__": path})
        setattr(sys.modules[path], name, classes[name])
    settings, meter = classes["Settings"](), classes["AverageMeter"]()
    settings.local, settings.seen = classes["EnvironmentSettings"](), {1, 2}
    settings.device, settings.sizes = torch.device("cpu"), {"template": 192}
    meter.val, meter.history = np.float64(0.5), [np.arange(3), torch.ones(2), b"raw"]
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    file = tmp_path / "OSTrack_ep0300.pth.tar"
    torch.save(
        {"epoch": 300, "actor_type": "OSTrackActor", "net_type": "OSTrack", "net_info": None,
         "net": net.state_dict(), "optimizer": optimizer.state_dict(), "settings": settings,
         "stats": OrderedDict(train={"Loss/total": meter, "lr": classes["StatValue"]()})},
        file, _use_new_zipfile_serialization=zipped,
    )  # fmt: skip
    for name in [name for name in sys.modules if name.split(".")[0] == "lib"]:
        monkeypatch.delitem(sys.modules, name)
    result = read_torch_file(file)
    assert result["epoch"] == 300
    assert result["net_info"] is None
    assert isinstance(result["settings"], Inert)
    assert result["settings"].type_name == "lib.train.admin.settings.Settings"
    assert result["stats"]["train"]["lr"].type_name == "lib.train.admin.stats.StatValue"
    assert list(result["net"]) == list(net.state_dict())
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(result["net"][name], value.numpy())
    assert result["net"]["1.num_batches_tracked"].dtype == np.int64
    assert not any(name.split(".")[0] == "lib" for name in sys.modules)


@FORMS
@pytest.mark.torch
def test_a_file_that_torch_would_run_is_refused_by_name(tmp_path, monkeypatch, zipped):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)

    class Bomb:
        def __reduce__(self):
            return os.system, ("touch exploded",)

    torch.save({"net": {}, "x": Bomb()}, "bomb.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"bomb.pth: .*'(posix|nt).system'.*nothing in it was run"):
        read_torch_file("bomb.pth")
    assert not os.path.exists("exploded")
    torch.load("bomb.pth", weights_only=False)
    assert os.path.exists("exploded")


def test_the_hand_made_archive_is_a_good_one(tmp_path):
    """What the tests below break, one thing at a time."""
    path = write_zip(tmp_path / "x.pth", tensor(offset=1, shape=(2, 1), strides=(2, 5)))
    np.testing.assert_array_equal(read_torch_file(path), [[1.0], [3.0]])
    assert not read_torch_file(path).flags.writeable


BIG = {"key": "0", "count": 2**31 - 1}


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (tensor(**BIG), "claims 2147483647 values of 4 bytes and has 16 bytes"),
        (tensor(count=3), "claims 3 values of 4 bytes and has 16 bytes"),
        (tensor(key="../../etc/passwd"), "no member 'archive/data/../../etc/passwd'"),
        (tensor(shape=(5,)), "reaches beyond the 4 values"),
        (tensor(offset=1), "reaches beyond the 4 values"),
        (tensor(offset=2**31 - 1, shape=(1,)), "reaches beyond"),
        (tensor(shape=(2, 2), strides=(3, 1)), "reaches beyond"),
        (tensor(shape=(2**30, 2**30), strides=(0, 0)), "reaches beyond"),
        (tensor(shape=(5,), strides=(0,)), "reaches beyond"),
        (tensor(shape=(2,), strides=(-1,), offset=3), "are not sizes"),
        (tensor(shape=(-1,)), "are not sizes"),
        (tensor(offset=-1), "are not sizes"),
        (tensor(shape=(2, 2), strides=(1,)), "are not sizes"),
        (tensor(shape=(1,) * 70, strides=(1,) * 70), "are not sizes"),
        (tensor(kind="cos\nsystem\n"), "asks for 'os.system'"),
        (tensor(kind="ctorch\nQInt8Storage\n"), "asks for 'torch.QInt8Storage'"),
        (tensor(kind="ctorch\nfloat32\n"), "storages of type 'torch.float32' are not read"),
        (tensor(kind="K\x01"), "storages of type '1' are not read"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(K\x00K\x00))tR", "not a storage"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "damaged"),
        (b"K\x01Q", "not a torch storage"),
        (b"X\x07\x00\x00\x00storageQ", "not a torch storage"),
        (b"P0\n", "not a torch storage"),
        (b"(X\x06\x00\x00\x00moduleNNNNtQ", "not a torch storage"),
        (storage()[:-2] + b"K\x01tQ", "views of others"),
        (b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nK\x00NK\x04tQ", "key is not text"),
        (b"ccollections\nOrderedDict\nK\x01\x85R", "not a list"),
        (b"ccollections\nOrderedDict\n](K\x01e\x85R", "not pairs"),
        (b"ctorch.jit._pickle\nbuild_intlist\n(]tR", "asks for 'torch.jit._pickle.build_intlist'"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n", "asks for"),
        (b"ctorch.storage\n_load_from_bytes\n(C\x01xtR", "asks for 'torch.storage._load_f"),
        (b"cnumpy\nload\n(X\x01\x00\x00\x00xtR", "asks for 'numpy.load'"),
        (tensor() + b"}X\x05\x00\x00\x00shapeK\x01sb", "changes the state of a ndarray"),
    ],
)  # fmt: skip
def test_lies_in_the_pickle_are_refused_in_words(tmp_path, pickled, message):
    path = write_zip(tmp_path / "x.pth", pickled)
    with pytest.raises(
        ValueError, match=r"x\.pth: not read as a PyTorch checkpoint: .*\.$"
    ) as error:
        read_torch_file(path)
    assert message in str(error.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"members": [("archive/data/0", FOUR)]}, "two members of one name"),
        ({"members": [("other/data.pkl", b"N.")]}, "has 2 members"),
        ({"members": [("archive/constants.pkl", b"N.")]}, "TorchScript"),
        ({"data": FOUR[:-1]}, "has 15 bytes"),
    ],
)
def test_archives_that_torch_does_not_write_are_refused(tmp_path, changes, message):
    path = write_zip(tmp_path / "x.pth", tensor(), **changes)
    with pytest.raises(ValueError, match=message):
        read_torch_file(path)


def test_a_nested_archive_is_just_bytes(tmp_path):
    inner = write_zip(tmp_path / "inner", b"cos\nsystem\n").read_bytes()
    path = write_zip(tmp_path / "x.pth", tensor(), members=[("archive/data/1", inner)])
    np.testing.assert_array_equal(read_torch_file(path), [0, 1, 2, 3])


def test_a_damaged_member_is_found_by_its_checksum(tmp_path):
    path = write_zip(tmp_path / "x.pth", tensor())
    raw = path.read_bytes()
    path.write_bytes(raw.replace(FOUR, FOUR[:-1] + b"\x00"))
    with pytest.raises(ValueError, match="'archive/data/0' is damaged"):
        read_torch_file(path)


def test_a_table_of_contents_that_lies_is_refused(tmp_path):
    raw = write_zip(tmp_path / "x.pth", tensor()).read_bytes()
    entry = raw.index(b"PK\x01\x02", raw.index(b"PK\x01\x02") + 1)  # of archive/data/0
    room = len(raw) - raw.index(b"PK\x03\x04", 4) + 30  # sizes that add up, but from too far on
    lies = {
        "more bytes than the file": [(20, 2**31 - 1), (24, 2**31 - 1)],  # both sizes
        "has no member where it says": [(42, 3)],  # the offset
        "compressed": [(24, 8)],  # one of the sizes
        "reaches beyond": [(20, room), (24, room)],
    }
    for message, fields in lies.items():
        lying = bytearray(raw)
        for position, value in fields:
            struct.pack_into("<I", lying, entry + position, value)
        path = tmp_path / "lie.pth"
        path.write_bytes(lying)
        with pytest.raises(ValueError, match=message):
            read_torch_file(path)


def test_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    for content, message in {
        b"": "empty",
        b"hello, world": "neither a zip archive nor",
        b"\x80\x02}.": "neither a zip archive nor",
        b"\x89PNG\r\n\x1a\n" + b"x" * 50: "neither a zip archive nor",
        b"PK\x03\x04" + b"x" * 50: "zip",
    }.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    with pytest.raises(ValueError, match="has 0 members"):
        read_torch_file(path)
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "missing.pth")


@pytest.mark.torch
def test_a_file_saved_without_checksums_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(3)}, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    np.testing.assert_array_equal(read_torch_file(tmp_path / "x.pth")["a"], [0, 1, 2])


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["conjugated", "negated", "sparse", "uint16", "meta"])
def test_tensors_that_are_not_plain_values_are_refused(tmp_path, kind):
    torch = pytest.importorskip("torch")
    value = {
        "conjugated": lambda: torch.tensor([1 + 2j]).conj(),
        "negated": lambda: torch.tensor([1 + 2j]).conj().imag,
        "sparse": lambda: torch.eye(3).to_sparse(),
        "uint16": lambda: torch.zeros(2, dtype=torch.uint16),
        "meta": lambda: torch.zeros(2, device="meta"),
    }[kind]()
    torch.save({"x": value}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth: .*(conjugated or negated|asks for 'torch)"):
        read_torch_file(tmp_path / "x.pth")


@FORMS
@pytest.mark.torch
def test_every_cut_of_a_file_is_an_error_in_words(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    buffer, path = io.BytesIO(), tmp_path / "cut.pth"
    net = torch.nn.Linear(3, 2).state_dict()
    torch.save({"net": net}, buffer, _use_new_zipfile_serialization=zipped)
    whole = buffer.getvalue()
    for cut in [*range(1, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"cut\.pth: "):
            read_torch_file(path)


@pytest.mark.torch
def test_a_legacy_stream_whose_storages_lie_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    buffer, path = io.BytesIO(), tmp_path / "lie.pth"
    torch.save(torch.arange(4.0), buffer, _use_new_zipfile_serialization=False)
    whole = buffer.getvalue()
    header = whole.rindex(struct.pack("<q", 4))
    for count in (3, 5, 2**60, -1):
        path.write_bytes(whole[:header] + struct.pack("<q", count) + whole[header + 8 :])
        with pytest.raises(ValueError, match="claims 4 values"):
            read_torch_file(path)
    claim = whole.index(b"K\x04Nt")  # the count in the persistent id
    path.write_bytes(whole[:claim] + b"J" + struct.pack("<i", 2**30) + whole[claim + 2 :])
    with pytest.raises(ValueError, match="reaches beyond"):
        read_torch_file(path)


@FORMS
@pytest.mark.torch
def test_random_damage_never_ends_in_another_exception(tmp_path, zipped):
    """Either the file is read (the damage hit padding or values) or there is a sentence."""
    torch = pytest.importorskip("torch")
    rng, buffer, path = np.random.default_rng(0), io.BytesIO(), tmp_path / "damaged.pth"
    saved = {"net": torch.nn.BatchNorm2d(4).state_dict(), "epoch": 3}
    torch.save(saved, buffer, _use_new_zipfile_serialization=zipped)
    messages = []
    for _ in range(1000):
        damaged = np.frombuffer(buffer.getvalue(), np.uint8).copy()
        damaged[rng.integers(0, damaged.size, size=rng.integers(1, 4))] = rng.integers(0, 256)
        path.write_bytes(damaged.tobytes())
        try:
            read_torch_file(path)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert all(message.startswith(f"{path}: ") for message in messages)
