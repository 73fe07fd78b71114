"""Tests run on the CPU as eight devices; ESAT_TEST_GPU=1 runs those marked gpu on the GPU."""

import os
import signal

import jax
import pytest
from absl import flags

ON_GPU = bool(os.environ.get("ESAT_TEST_GPU"))
if not ON_GPU:
    os.environ["JAX_PLATFORMS"] = "cpu"  # for the programs that tests start
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")
flags.FLAGS.mark_as_parsed()  # grain reads absl's flags
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tools under test have to get Ctrl-C


def pytest_collection_modifyitems(items):
    for item in items:
        if "gpu" in item.keywords and not ON_GPU:
            item.add_marker(pytest.mark.skip(reason="needs a GPU and ESAT_TEST_GPU=1"))
        if "data" in item.keywords and not os.environ.get("ESAT_DATA"):
            item.add_marker(pytest.mark.skip(reason="needs the data sets and ESAT_DATA"))


@pytest.fixture(scope="session")
def program_cache(tmp_path_factory, request):
    """A folder for the programs that tests compile, of all of pytest's processes together."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # in a process of pytest-xdist
        folder = folder.parent
    (folder / "programs").mkdir(exist_ok=True)
    return folder / "programs"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Lets tests import several tools, which name their flags alike, into one process."""
    report = yield
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        for flag in defined if module.startswith(("launch.", "benchmarks.")) else ():
            flag.allow_override = True
    return report
