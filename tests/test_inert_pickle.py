"""Hand-made pickles: what they say is written here byte by byte, what they may do is nothing."""

import io
import os
import pickle
import struct

import pytest

from esat_jax.inert_pickle import Inert, PickleError, Vocabulary, load

WORDS = Vocabulary(
    constructors={"shop.make": lambda *arguments: ["made", *arguments]},
    constants=frozenset({"shop.CONSTANT"}),
    is_inert=lambda name: name.module.split(".")[0] == "lib",
    persistent=lambda pid: ("persistent", pid),
)


def read(data):
    return load(io.BytesIO(data), WORDS)


def short_text(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


def stack_global(module, name):
    return short_text(module) + short_text(name) + b"\x93"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_back_as_pickle_wrote_them(protocol):
    twice = [1, "two"]
    value = {
        "int": [0, 1, -1, 255, 65536, -(2**31), 2**40, -(2**40), 2**600],
        "float": (1.5, float("inf"), -0.0),
        "text": ["", "plain", "ü\n", "x" * 300],
        "other": (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "nested": {1: {"a": [{}, []]}, None: twice},
        "shared": [twice, twice],
    }
    result = read(pickle.dumps(value, protocol))
    assert result == value
    assert result["shared"][0] is result["shared"][1]


@pytest.mark.parametrize("protocol", [4, 5])
def test_bytes_and_sets_come_back(protocol):
    value = [b"", b"abc", b"x" * 300, {1, "a"}, {2}, set()]
    assert read(pickle.dumps(value, protocol)) == value
    assert read(pickle.dumps(frozenset({3}), protocol)) == {3}


def test_a_list_that_holds_itself_is_read():
    value = []
    value.append(value)
    result = read(pickle.dumps(value))
    assert result[0] is result


def test_the_stream_is_left_behind_the_pickle():
    stream = io.BytesIO(pickle.dumps(1) + pickle.dumps("next") + b"rest")
    assert [load(stream, WORDS), load(stream, WORDS), stream.read()] == [1, "next", b"rest"]


def test_a_constructor_of_the_vocabulary_makes_the_value():
    assert read(b"cshop\nmake\n(K\x01K\x02tR.") == ["made", 1, 2]
    assert read(b"(K\x01ishop\nmake\n.") == ["made", 1]
    assert read(b"(cshop\nmake\nK\x01o.") == ["made", 1]
    assert read(b"\x80\x02" + stack_global("shop", "make") + b")\x81.") == ["made"]


def test_objects_of_inert_classes_become_labels_however_they_are_made():
    for made in (b")\x81", b")R"):
        result = read(b"\x80\x04" + stack_global("lib.train.stats", "AverageMeter") + made + b".")
        assert isinstance(result, Inert)
        assert result.type_name == "lib.train.stats.AverageMeter"
    filled = b"clib\nA\n)\x81K\x01a(K\x01K\x02e" + b"K\x01K\x02s(K\x03K\x04u}b."
    assert read(filled).type_name == "lib.A"


MARKER = "pickle_was_run"
CALL = f"open('{MARKER}', 'w').close()"
SYSTEM = f"touch {MARKER}"
ATTACKS = {
    "reduce": (f"cos\nsystem\n(X{{}}{SYSTEM}tR.", "os.system"),
    "posix": (f"cposix\nsystem\n(X{{}}{SYSTEM}tR.", "posix.system"),
    "eval": (f"cbuiltins\neval\n(X{{}}{CALL}tR.", "builtins.eval"),
    "python 2 eval": (f"c__builtin__\neval\n(X{{}}{CALL}tR.", "__builtin__.eval"),
    "inst": (f"(X{{}}{SYSTEM}ios\nsystem\n.", "os.system"),
    "obj": (f"(cos\nsystem\nX{{}}{SYSTEM}o.", "os.system"),
    "subprocess": (f"csubprocess\ngetoutput\n(X{{}}{SYSTEM}tR.", "subprocess.getoutput"),
    "import": ("c__builtin__\n__import__\n(X{}antigravitytR.", "__builtin__.__import__"),
    "runpy": (f"crunpy\n_run_code\n(X{{}}{CALL}}}tR.", "runpy._run_code"),
    "pickle in pickle": (f"c_pickle\nloads\n(X{{}}{SYSTEM}tR.", "_pickle.loads"),
}


def text_lengths(template):
    """Fills the length of the one text between X and the opcode after it."""
    head, text = template.split("{}")
    for payload in (SYSTEM, CALL, "antigravity"):
        if text.startswith(payload):
            return head.encode() + struct.pack("<I", len(payload)) + text.encode()
    raise AssertionError(template)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_runs_nothing_and_is_named(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    template, name = ATTACKS[attack]
    with pytest.raises(PickleError, match=f"asks for '{name}'.*nothing in it was run"):
        read(text_lengths(template))
    assert not os.path.exists(MARKER)


def test_the_attacks_are_real_for_pickle_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for attack in ("reduce", "posix", "eval", "inst", "obj", "subprocess"):
        pickle.loads(text_lengths(ATTACKS[attack][0]))
        assert os.path.exists(MARKER), attack
        os.remove(MARKER)


@pytest.mark.parametrize(
    ("module", "name"),
    [("lib.os", "system.__call__"), ("lib", "x.y"), ("lib..os", "a"), ("shop.make", "__globals__"),
     ("shop", "make.__globals__"), ("lib ", "a"), ("", "lib"), ("shop", "CONSTANT.x"),
     ("libos", "system"), ("builtins", "getattr"), ("lib", "")],
)  # fmt: skip
def test_dotted_and_near_names_are_refused(module, name):
    for spelled in (stack_global(module, name), f"c{module}\n{name}\n".encode()):
        with pytest.raises(PickleError, match="asks for"):
            read(b"\x80\x04" + spelled + b".")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"clib\nA\n)RX\x01\x00\x00\x00xbcbuiltins\ngetattr\n.", "asks for 'builtins.getattr'"),
        (b"clib\nA\n)R)R.", "calls a Inert"),  # the object of a class, called
        (b"X\x01\x00\x00\x00a)R.", "calls a str"),
        (b"cshop\nCONSTANT\n)R.", "calls 'shop.CONSTANT'"),
        (b"cshop\nmake\nK\x01R.", "calls a Global"),  # arguments that are not a tuple
        (b"clib\nA\n}X\x09\x00\x00\x00__class__K\x01sb.", "changes the state of a Global"),
        (
            b"cshop\nmake\n)R(N}X\x0c\x00\x00\x00__setstate__K\x01stb.",
            "changes the state of a list",
        ),
        (b"K\x01}b.", "changes the state of a int"),
        (b"K\x01K\x02a.", "adds items to a int"),
        (b"K\x01K\x02K\x03s.", "sets items of a int"),
        (b"}(K\x01u.", "a key without a value"),
        (b"}]K\x01s.", "uses a list as a key"),
        (b"}K\x01\x85\x85K\x01s.", "uses a tuple as a key"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"\x83\x01\x00.", "opcode EXT2"),
        (b"\x84\x01\x00\x00\x00.", "opcode EXT4"),
        (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
        (b"cshop\nmake\n)}\x92.", "opcode NEWOBJ_EX"),
        (b"\x80\x04K\x01K\x02\x93.", "not text"),
        (b"((.", "2 values"),
        (b".", "0 values"),
        (b"(.", "1 values"),
        (b"(Q.", "takes a value where there is none"),
        (b"(q\x00.", "remembers a value where there is none"),
        (b"h\x07.", "damaged"),
        (b"R.", "damaged"),
        (b"K\x01", "damaged"),
        (b"", "damaged"),
        (b"\xfe\xff", "damaged"),
        (b"\x8e" + b"\xff" * 7 + b"\x7fabc.", "damaged"),  # 9 exabytes of bytes
        (b"L" + b"9" * 5000 + b"L\n.", "damaged"),
        (b"X\x01\x00\x00\x00\xff.", "damaged"),
    ],
)
def test_tricks_and_damage_are_refused_in_words(data, message):
    with pytest.raises(PickleError, match=message):
        read(data)


def test_a_registered_extension_is_not_reached(monkeypatch):
    import copyreg

    copyreg.add_extension("os", "system", 201)
    try:
        with pytest.raises(PickleError, match="opcode EXT1"):
            read(b"\x82\xc9(X\x04\x00\x00\x00truetR.")
    finally:
        copyreg.remove_extension("os", "system", 201)


def test_deep_nesting_does_not_exhaust_the_stack():
    depth = 200_000
    assert read(b"]" * depth + b"a" * (depth - 1) + b".")
    assert read(b")" + b"\x85" * depth + b".")
    with pytest.raises(PickleError, match="as a key"):
        read(b"})" + b"\x85" * depth + b"K\x01s.")


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_every_cut_is_an_error_in_words(cut):
    whole = pickle.dumps({"a": [1, 2.5, "text", (None, True)], "b": {"c": 2**70}}, 2)
    with pytest.raises(PickleError):
        read(whole[:cut])
