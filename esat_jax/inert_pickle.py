"""Reads pickles without running them: a pickle is a program, this machine has no call to make.

`pickle.Unpickler` imports the names that a file mentions and calls them. Here a name stays a name
(`Global`), an object of an unknown class stays a label (`Inert`), and the only constructors are
the functions that the caller hands over. No import, no getattr, no setattr on behalf of the file.
"""

import dataclasses
import io
import mmap
import pickletools
import struct
from collections.abc import Callable, Mapping

Constructor = Callable[..., object]
MARK = object()  # where a group of values starts on the stack
_SCALARS = (str, bytes, int, float, type(None))  # bool is an int


class PickleError(ValueError):
    """A pickle that is refused or damaged; says why, without the file's name."""


@dataclasses.dataclass(frozen=True)
class Global:
    """A name the pickle refers to. It is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        """The dotted name."""
        return f"{self.module}.{self.name}"


@dataclasses.dataclass(eq=False, frozen=True)
class Inert:
    """Stands for an object whose class is not ours to build; its state is dropped."""

    type_name: str


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """All that a pickle may mention.

    Attributes:
      constructors: dotted name -> function that makes the value from the pickled arguments.
      constants: dotted names that may be mentioned but not called.
      is_inert: says of a `Global` that its objects become `Inert`.
      persistent: makes a value from a persistent id (torch: a storage).
    """

    constructors: Mapping[str, Constructor]
    constants: frozenset[str]
    is_inert: Callable[[Global], bool]
    persistent: Constructor


def load(stream: io.BytesIO | mmap.mmap, vocabulary: Vocabulary) -> object:
    """Reads one pickle and leaves the stream right behind it.

    Both kinds of stream give at most what they hold, whatever length the pickle claims.

    Raises: PickleError for any name outside the vocabulary, any other trick, and damage.
    """
    machine = _Machine(vocabulary)
    start = stream.tell()
    try:
        for opcode, argument, position in pickletools.genops(stream):
            start = position
            machine.step(opcode.name, argument)
        return machine.result()
    except PickleError:
        raise
    except (ValueError, LookupError, TypeError, OverflowError, struct.error) as error:
        raise PickleError(f"the pickle is damaged near byte {start} ({error})") from None


class _Machine:
    """The stack, the memo and one method for each kind of opcode."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._stack: list = []
        self._memo: dict[int, object] = {}

    def result(self) -> object:
        """The one value left when the pickle has stopped."""
        if len(self._stack) != 1 or self._stack[0] is MARK:
            raise PickleError(f"the pickle ends with {len(self._stack)} values instead of one")
        return self._stack[0]

    def step(self, name: str, argument: object) -> None:
        """Executes one opcode as `pickletools` names it."""
        if name in _PUSHES_ITS_ARGUMENT:
            self._stack.append(argument)
        elif name in _PUSHES_A_CONSTANT:
            self._stack.append(_PUSHES_A_CONSTANT[name]())
        elif name not in _IGNORED:
            method = _METHODS.get(name)
            if method is None:
                raise PickleError(f"the pickle uses opcode {name}, which no checkpoint needs")
            method(self, argument)

    def _pop(self) -> object:
        value = self._stack.pop()
        if value is MARK:
            raise PickleError("the pickle takes a value where there is none")
        return value

    def _pop_group(self) -> list:
        group = []
        while (value := self._stack.pop()) is not MARK:
            group.append(value)
        return group[::-1]

    def _tuple(self, size: int) -> None:
        values = [self._pop() for _ in range(size)]
        self._stack.append(tuple(values[::-1]))

    def _mention(self, module: object, name: object) -> Global:
        """Accepts a name of the vocabulary, refuses all others before anything uses it."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("the pickle names something with values that are not text")
        mentioned = Global(module, name)
        words = self._vocabulary
        known = str(mentioned) in words.constructors or str(mentioned) in words.constants
        plain = name.isidentifier() and all(part.isidentifier() for part in module.split("."))
        if plain and (known or words.is_inert(mentioned)):
            return mentioned
        raise PickleError(
            f"the pickle asks for {str(mentioned)[:100]!r}; only tensors and plain values are "
            "read from such a file, and nothing in it was run"
        )

    def _construct(self, maker: object, arguments: object) -> object:
        """The value of a call, made by us; anything but a name of the vocabulary is refused."""
        if not isinstance(maker, Global) or not isinstance(arguments, tuple):
            raise PickleError(
                f"the pickle calls a {type(maker).__name__}, which is not a function; "
                "nothing in it was run"
            )
        if self._vocabulary.is_inert(maker):
            return Inert(str(maker))
        if str(maker) not in self._vocabulary.constructors:
            raise PickleError(f"the pickle calls {str(maker)!r}, which is not a function")
        return self._vocabulary.constructors[str(maker)](*arguments)

    def _global(self, argument: str) -> None:
        self._stack.append(self._mention(*argument.split(" ", 1)))

    def _stack_global(self, _: object) -> None:
        name, module = self._pop(), self._pop()
        self._stack.append(self._mention(module, name))

    def _reduce(self, _: object) -> None:
        arguments, maker = self._pop(), self._pop()
        self._stack.append(self._construct(maker, arguments))

    def _obj(self, _: object) -> None:
        maker, *arguments = self._pop_group()
        self._stack.append(self._construct(maker, tuple(arguments)))

    def _inst(self, argument: str) -> None:
        maker = self._mention(*argument.split(" ", 1))
        self._stack.append(self._construct(maker, tuple(self._pop_group())))

    def _build(self, _: object) -> None:
        _, target = self._pop(), self._stack[-1]
        if not isinstance(target, Inert | dict):  # their state is dropped
            raise PickleError(f"the pickle changes the state of a {type(target).__name__}")

    def _extend(self, values: list) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(_key(value) for value in values)
        elif not isinstance(target, Inert):
            raise PickleError(f"the pickle adds items to a {type(target).__name__}")

    def _set_items(self, pairs: list) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            target.update(_pairs(pairs))
        elif not isinstance(target, Inert):
            raise PickleError(f"the pickle sets items of a {type(target).__name__}")

    def _put(self, index: int) -> None:
        if self._stack[-1] is MARK:
            raise PickleError("the pickle remembers a value where there is none")
        self._memo[index] = self._stack[-1]


def _key(value: object) -> object:
    """Accepts what checkpoints use as keys; nested tuples could exhaust the C stack in hash()."""
    parts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(part, _SCALARS) for part in parts):
        raise PickleError(f"the pickle uses a {type(value).__name__} as a key")
    return value


def _pairs(flat: list) -> dict:
    if len(flat) % 2:
        raise PickleError("the pickle has a key without a value")
    return {_key(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)}


_IGNORED = {"PROTO", "FRAME", "STOP"}
_PLAIN = (
    pickletools.pyint,
    pickletools.pyinteger_or_bool,
    pickletools.pyfloat,
    pickletools.pybytes,
    pickletools.pybytes_or_str,
    pickletools.pybytearray,
    pickletools.pyunicode,
)
_PUSHES_ITS_ARGUMENT = {
    op.name
    for op in pickletools.opcodes
    if op.arg and not op.stack_before and op.stack_after and op.stack_after[0] in _PLAIN
}
_PUSHES_A_CONSTANT = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "MARK": lambda: MARK,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": set,
    "EMPTY_TUPLE": tuple,
}
_METHODS: dict[str, Callable[[_Machine, object], None]] = {
    "POP": lambda m, _: m._stack.pop(),
    "POP_MARK": lambda m, _: m._pop_group(),
    "DUP": lambda m, _: m._stack.append(m._stack[-1]),
    "TUPLE": lambda m, _: m._stack.append(tuple(m._pop_group())),
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    "LIST": lambda m, _: m._stack.append(m._pop_group()),
    "DICT": lambda m, _: m._stack.append(_pairs(m._pop_group())),
    "FROZENSET": lambda m, _: m._stack.append(frozenset(map(_key, m._pop_group()))),
    "APPEND": lambda m, _: m._extend([m._pop()]),
    "APPENDS": lambda m, _: m._extend(m._pop_group()),
    "ADDITEMS": lambda m, _: m._extend(m._pop_group()),
    "SETITEM": lambda m, _: m._set_items([m._pop(), m._pop()][::-1]),
    "SETITEMS": lambda m, _: m._set_items(m._pop_group()),
    "PUT": lambda m, index: m._put(index),
    "BINPUT": lambda m, index: m._put(index),
    "LONG_BINPUT": lambda m, index: m._put(index),
    "MEMOIZE": lambda m, _: m._put(len(m._memo)),
    "GET": lambda m, index: m._stack.append(m._memo[index]),
    "BINGET": lambda m, index: m._stack.append(m._memo[index]),
    "LONG_BINGET": lambda m, index: m._stack.append(m._memo[index]),
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._reduce,
    "OBJ": _Machine._obj,
    "INST": _Machine._inst,
    "BUILD": _Machine._build,
    "PERSID": lambda m, pid: m._stack.append(m._vocabulary.persistent(pid)),
    "BINPERSID": lambda m, _: m._stack.append(m._vocabulary.persistent(m._pop())),
}
