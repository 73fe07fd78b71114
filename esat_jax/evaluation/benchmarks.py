"""What differs between benchmarks: names of files, tags of the rules, columns of attributes."""

import dataclasses
from difflib import get_close_matches

LASOT_ATTRIBUTES = (
    *("IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC"),
)
TNL2K_ATTRIBUTES = (
    *("CM", "ROT", "DEF", "FOC", "IV", "OV", "POC", "VC", "SV", "BC", "MB", "ARC", "LR", "FM"),
    *("AS", "TC", "MS"),
)
OTB_ATTRIBUTES = (*("IV", "OPR", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OV", "BC", "LR"),)
UAV123_ATTRIBUTES = (*("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB"),)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
      tag: its name in pytracking and OSTrack, whose rule depends on it.
      boxes, times: paths of a sequence's files below a folder of results; `{run:03d}` counts runs.
      prefix: of sequence names, which the files of some toolkits have and those of others not.
      attributes: columns of its attribute files.
      toolkit: what its own toolkit has beside the data set: "flags" of absence and attributes,
        "attributes" alone, or "".
      rule: the rule of its own code or server, a key of `scoreboard.RULES`; "" if there is none.
      server: whether the truth is kept there, after the first frame.
    """

    tag: str
    boxes: str = "{tracker}/{sequence}.txt"
    times: str = "{tracker}/{sequence}_time.txt"
    prefix: str = ""
    attributes: tuple[str, ...] = ()
    toolkit: str = ""
    rule: str = ""
    server: bool = False

    def aliases(self, sequence: str) -> tuple[str, ...]:
        """Names of a sequence's files: Jogging_1, Jogging-1, Jogging.1, or uav_bike1, bike1."""
        names = [sequence, sequence.removeprefix(self.prefix)]
        stem, _, last = sequence.rpartition("_")
        if self.tag == "otb" and last in ("1", "2"):
            names += [f"{stem}-{last}", f"{stem}.{last}"]
        if sequence == "Human4_2":  # whose first target nobody evaluates
            names.append(stem)
        return tuple(dict.fromkeys(names))


def _lasot(tag: str, attributes: tuple[str, ...]) -> Benchmark:
    """As the MATLAB toolkits of LaSOT and TNL2K read results."""
    folder = "{tracker}_tracking_result"
    return Benchmark(
        tag,
        f"{folder}/{{sequence}}.txt",
        f"{folder}/{{sequence}}_time.txt",
        attributes=attributes,
        toolkit="flags",
        rule="lasot_toolkit",
    )


def _got10k(*, server: bool) -> Benchmark:
    folder = "{tracker}/{sequence}/{sequence}_"
    files = f"{folder}{{run:03d}}.txt", f"{folder}time.txt"
    return Benchmark("got10k", *files, rule="got10k", server=server)


def _trackingnet(*, server: bool) -> Benchmark:
    """Times lie elsewhere: the server's code would take every file for a sequence's boxes."""
    times = "{tracker}_times/{sequence}_time.txt"
    return Benchmark("trackingnet", times=times, rule="trackingnet", server=server)


BENCHMARKS = {
    "lasot_train": _lasot("lasot", LASOT_ATTRIBUTES),
    "lasot_test": _lasot("lasot", LASOT_ATTRIBUTES),
    "lasot_ext": _lasot("lasot_extension_subset", LASOT_ATTRIBUTES),
    "tnl2k_train": _lasot("tnl2k", TNL2K_ATTRIBUTES),
    "tnl2k_test": _lasot("tnl2k", TNL2K_ATTRIBUTES),
    "got10k_train": _got10k(server=False),
    "got10k_vottrain": _got10k(server=False),
    "got10k_votval": _got10k(server=False),
    "got10k_val": _got10k(server=False),
    "got10k_test": _got10k(server=True),
    "trackingnet_train": _trackingnet(server=False),
    "trackingnet_test": _trackingnet(server=True),
    "otb": Benchmark("otb", attributes=OTB_ATTRIBUTES, toolkit="attributes"),
    "uav123": Benchmark("uav", prefix="uav_", attributes=UAV123_ATTRIBUTES),
    "nfs": Benchmark("nfs", prefix="nfs_"),
    "folders": Benchmark("uav"),  # whose rule takes NaN for absent, as one's own videos do
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of a data set's name, or of NAME:PATH. Raises: ValueError if it is none."""
    key = name.partition(":")[0]
    if key not in BENCHMARKS:
        near = get_close_matches(key, BENCHMARKS) or sorted(BENCHMARKS)
        raise ValueError(f"unknown benchmark {key!r}; did you mean one of {near}?")
    return BENCHMARKS[key]
