import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from data_pipeline.allocation import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
def use():
    return [np.ones((720, 1280, 3), np.uint8) for _ in range(4)]
for _ in range(3):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_the_memory_of_a_frame_is_used_again():
    def run(how):
        command = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        kept, faults = done.stdout.split()
        return kept, int(faults)

    kept, faults = run("kept")
    if kept == "False":
        pytest.skip("this C library has no mallopt")
    assert faults < 20  # pages the system had to clear for 80 frames of 675 pages each
    assert run("not")[1] > 1000
