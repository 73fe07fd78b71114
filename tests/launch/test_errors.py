import subprocess
import sys

import pytest

TOOL = """
from absl import flags
from launch import errors
flags.DEFINE_string("file", None, "")

def main(argv):
    {body}

errors.run(main)
"""


def run_tool(body, *arguments):
    command = [sys.executable, "-c", TOOL.format(body=body), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("raise ValueError('the box is empty.')", "error: the box is empty."),
        ("raise OSError('the disk is gone.')", "error: the disk is gone."),
        ("open('no/such/file')", "error: no/such/file: No such file or directory"),
        ("import os; os.rename('from', 'to')", "error: from -> to: No such file or directory"),
        ("raise FileNotFoundError", "error: FileNotFoundError"),
    ],
)
def test_wrong_input_ends_in_one_sentence_and_status_1(body, sentence):
    done = run_tool(body)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + "\n")


def test_traceback_is_shown_on_request():
    done = run_tool("raise ValueError('the box is empty.')", "--traceback")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_faults_of_the_program_keep_their_traceback():
    done = run_tool("raise KeyError('x')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_ctrl_c_ends_in_one_word():
    done = run_tool("raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, "stopped.\n")


def test_the_status_that_main_returns_is_the_programs():
    assert run_tool("return 3").returncode == 3
    assert run_tool("return None").returncode == 0


def test_surplus_arguments_end_in_one_line():
    body = "from absl import app; raise app.UsageError('unexpected ' + argv[1])"
    done = run_tool(body, "clip.mp4")
    sentence = "error: unexpected clip.mp4 (--help lists the flags)\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_a_log_line_is_written_once_whoever_was_imported():
    body = """import grain, logging
    logging.getLogger("data_pipeline.pairs").warning("two left out")"""
    tool = "import grain\n" + TOOL.format(body=body)
    done = subprocess.run(
        [sys.executable, "-c", tool], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr.count("two left out") == 1, done.stderr


@pytest.mark.parametrize("lines", [3, 30_000])  # less and more than the pipe and buffers hold
@pytest.mark.parametrize("status", [0, 3])
def test_a_reader_that_leaves_early_changes_nothing(tmp_path, lines, status):
    body = f"""import pathlib, sys
    print(*range({lines}), sep="\\n")
    print("still here", file=sys.stderr)
    pathlib.Path({str(tmp_path / "written")!r}).write_text("whole")
    return {status}"""
    command = [sys.executable, "-c", TOOL.format(body=body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tool:
        tool.stdout.close()
        assert tool.stderr.read() == b"still here\n"
    assert tool.returncode == status
    assert (tmp_path / "written").read_text() == "whole"


@pytest.mark.parametrize("argument", ["--nope", "--file"])
def test_wrong_flags_end_in_one_line(argument):
    done = run_tool("return 0", argument)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("nothing.py", "No such file or directory: 'nothing.py'"),
        ("configs/esat_vit_s224.py:t9", "unknown variant 't9'"),
        ("configs/esat_vit_s224.py --config.headz=1", "no key of the config: 'headz' Did you mean"),
        ("configs/esat_vit_s224.py --config.serch.size=1", "no key of the config: 'serch' Did you"),
        ("configs/esat_vit_s224.py --config.fda.alpha.x=1", "no key of the config"),
    ],
)
def test_wrong_configs_end_in_one_line(config, words):
    body = """
    from ml_collections import config_flags
    config = config_flags.DEFINE_config_file("config")
    errors.run(lambda argv: print(config.value.seed))
    """
    arguments = f"--config={config}".split()
    tool = "from launch import errors" + body.replace("\n    ", "\n")
    done = subprocess.run(
        [sys.executable, "-c", tool, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
