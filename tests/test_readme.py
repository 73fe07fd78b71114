"""The commands and links of README.md, docs/ and benchmarks/ lead somewhere."""

import functools
import importlib.util
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    page
    for folder in (".", "docs", "benchmarks", "checkpoints")
    for page in sorted((ROOT / folder).glob("*.md"))
]
SHELL_WORDS = {
    *("cd", "git", "pip", "python3", "source"),
    *(".venv/bin/pip", ".venv/bin/pre-commit", ".venv-peers/bin/pip"),
}


def commands():
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield page.name, words


def tool_commands():
    found = []
    for page, words in commands():
        words = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words[0].endswith("python") and words[1] == "-m" and words[2] != "pytest":
            name = f"{page}: {' '.join(words[2:])}"
            found.append(pytest.param(words[2], words[3:], id=name))
    return found


@functools.cache
def flags_of(module):
    run = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "flags:" in run.stdout, run.stderr
    return set(re.findall(r"--(?:\[no\])?([a-z_]+)", run.stdout))


def test_the_readme_shows_its_tools():
    assert {command.values[0] for command in tool_commands()} >= {"launch.track"}


@pytest.mark.parametrize(("module", "arguments"), tool_commands())
def test_tool_and_flags_exist(module, arguments):
    known = flags_of(module)
    for argument in arguments:
        name = re.fullmatch(r"--([a-z_]+)(?:\.[a-z_.]+)?(?:=.*)?", argument)
        assert name, f"{argument} is not --flag or --flag=value"
        assert name[1] in known, f"{module} has no --{name[1]}; it has {sorted(known)}"


def shown_configs():
    for page in PAGES:
        for file in re.findall(
            r"--config=(configs/[^\s`]+)((?: --config\.[^\s`]+)*)", page.read_text()
        ):
            yield pytest.param(*file, id=f"{page.name}: {file[0]}")


@pytest.mark.parametrize(("file", "keys"), list(shown_configs()))
def test_configs_variants_and_keys_exist(file, keys):
    path, _, variants = file.partition(":")
    spec = importlib.util.spec_from_file_location("shown_config", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(variants)
    for key in re.findall(r"--config\.([a-z_.]+)=", keys):
        functools.reduce(lambda node, name: node[name], key.split("."), config)


def test_every_other_command_is_a_known_one():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page, words in commands():
        words = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words[0] == "make":
            assert words[1] in targets, f"{page}: make has no target {words[1]}"
        elif words[0].startswith("launch/"):
            assert os.access(ROOT / words[0], os.X_OK), f"{page}: {words[0]} is no program"
        elif not words[0].endswith("python"):
            assert words[0] in SHELL_WORDS, f"{page}: {words[0]} is not a command of this project"
        files = [
            word for word in words if re.fullmatch(r"(requirements|constraints)\S*\.txt", word)
        ]
        assert all((ROOT / name).exists() for name in files), f"{page}: {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page):
    text = page.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    links = [page.parent / link for link in links if link and "://" not in link]
    named = re.findall(
        r"`((?:configs|docs|esat_jax|data_pipeline|launch|tests)/[\w/]+\.\w+)`", text
    )
    for path in [*links, *(ROOT / name for name in named)]:
        assert path.exists(), f"{page.name} names {path}, which does not exist"


def test_python_examples_compile():
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            compile(block, page.name, "exec")
