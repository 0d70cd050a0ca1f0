# `make` alone lists the targets. Each one does its own set-up.

# TensorFlow 2.21 has wheels for Python 3.11 to 3.13: the first of these commands that is one.
# (A command of that name can exist and not run, as those of pyenv do.) PYTHON=... overrides.
GOOD := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(GOOD)' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/ready

# Of TensorFlow's messages only errors are for readers; they would be stored in the notebooks.
export TF_CPP_MIN_LOG_LEVEL ?= 3
# matplotlib's list of fonts is this copy's own: one that another environment left in the home
# directory may lack the fonts that matplotlib brings, and each formula would then warn.
export MPLCONFIGDIR ?= $(CURDIR)/.cache/matplotlib

.DEFAULT_GOAL := help
.PHONY: help setup book look pdf links test run serve lock clean lint pairs parity backends wheel dist bench compare \
	sweep test-slurm new-loss chromium

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with the locked packages and segloss_ref

$(READY): requirements.txt pyproject.toml tools/ipython_kernel_config.py
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(GOOD)' || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found." \
		"Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Setting up .venv with $(PYTHON): about 3 GB, a few minutes the first time."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	install -D --mode 644 tools/ipython_kernel_config.py .venv/etc/ipython/ipython_kernel_config.py
	$(BIN)/python -c "import matplotlib.font_manager"
	@touch $@

# The package's losses as JavaScript, for the pages with a loss lab.
LAB := _build/lab/lab.js
$(LAB): $(READY) $(wildcard lab/*.py lab/lab.* segloss_ref/*.py segloss_ref/losses/*.py)
	$(BIN)/python lab/build.py $(@D)

book: $(READY) $(LAB)  ## build the book into _build/html
	$(BIN)/jupyter-book build . --all --warningiserror --keep-going  # of a part, Sphinx loses index entries
	@$(BIN)/python tools/check_build.py
	@echo "The book: _build/html/index.html"

serve: book  ## build the book and show it on http://localhost:8000
	$(BIN)/python -m http.server --directory _build/html --bind 127.0.0.1 8000

look: book chromium .cache/axe/ready  ## open every page in Chromium, wide and as on a phone, and check the loss lab; says what is wrong
	@$(BIN)/python tools/look.py
	@$(BIN)/python lab/check.py $(dir $(LAB))

pdf: book chromium  ## the whole book as _build/segmentation-losses.pdf, a few minutes
	@$(BIN)/python tools/pdf.py

chromium:
	@command -v chromium chromium-browser google-chrome > /dev/null || [ "$$(id -u)" != 0 ] || \
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium; }

links: $(READY)  ## ask for every address that the book names; needs a network
	$(BIN)/jupyter-book build . --builder linkcheck

.cache/axe/ready: tools/axe.txt | $(READY)
	rm -rf $(@D)
	$(BIN)/pip install --quiet --require-hashes --no-deps --target $(@D) -r $<
	@touch $@

test: lint pairs  ## ruff, text and notebooks in step, pytest, every notebook executed
	$(BIN)/pytest --numprocesses 2 --dist worksteal tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile --nbval --nbval-cell-timeout 600 notebooks

FORMS := .cache/forms/bin/check-jsonschema --builtin-schema vendor
lint: $(READY) .cache/forms/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(FORMS).github-workflows .github/workflows/*.yml
	$(FORMS).github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(FORMS).github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(FORMS).citation-file-format CITATION.cff

pairs: $(READY)
	$(BIN)/python tools/notebooks.py check

run: $(READY)  ## execute the notebooks that changed and store what they give
	$(BIN)/python tools/notebooks.py run

# Other libraries and backends have environments of their own; segloss_ref is read from here.
.cache/parity/ready: benchmarks/requirements.txt
.cache/jax/ready: benchmarks/requirements-jax.txt
.cache/forms/ready: tools/forms.txt
.cache/%/ready:
	@echo "Setting up .cache/$*, the first time only$(if $(filter parity,$*),; with PyTorch it may take 6 GB)."
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet -r $<
	@touch $@

parity: .cache/parity/ready  ## compare the losses with those of Keras, PyTorch, MONAI and SMP
	PYTHONPATH=. $(<D)/bin/python benchmarks/parity.py

# The tests of all that is no loss and runs on the device. What compiles with TensorFlow is skipped.
ON_DEVICE := tests/test_distance.py tests/test_skeleton.py tests/test_weight_maps.py \
	tests/test_augmentation.py tests/test_functional.py tests/test_training_loops.py \
	tests/test_getting_started.py tests/metrics/test_keras_metrics.py
backends: export PYTHONPATH = .
backends: export JAX_ENABLE_X64 = 1
backends: .cache/parity/ready .cache/jax/ready  ## compare PyTorch and JAX with what TensorFlow gave
	KERAS_BACKEND=torch .cache/parity/bin/python benchmarks/backends.py
	KERAS_BACKEND=jax .cache/jax/bin/python benchmarks/backends.py
	KERAS_BACKEND=torch .cache/parity/bin/python -m pytest $(ON_DEVICE)
	KERAS_BACKEND=jax .cache/jax/bin/python -m pytest $(ON_DEVICE)

wheel: $(READY)  ## build the wheel; run README's Python with it alone on three backends
	$(BIN)/python tools/check_wheel.py

dist: $(READY)  ## build the wheel and the source archive into dist/
	$(BIN)/hatchling build

bench: $(READY) .cache/parity/ready .cache/jax/ready  ## measure speed beside other libraries, a few minutes
	$(BIN)/python benchmarks/bench_losses.py --store
	PYTHONPATH=. .cache/parity/bin/python benchmarks/bench_losses.py --backend torch --store
	PYTHONPATH=. .cache/jax/bin/python benchmarks/bench_losses.py --backend jax --store
	$(BIN)/pytest --benchmark-columns=min,median,rounds --benchmark-group-by=func \
		benchmarks/bench_weight_maps.py

MINUTES ?= 30
COMPARED := $(CURDIR)/results/compare
compare: $(READY)  ## which loss for DATA=folder? trains for MINUTES=30, and makes a page of what it finds
	@test -d "$(DATA)" || { echo "Name a folder with images/ and masks/: make compare DATA=my_cells"; exit 1; }
	@mkdir -p $(COMPARED)
	$(BIN)/papermill notebooks/experiments/compare.ipynb $(COMPARED)/compare.ipynb \
		-p data_dir "$(DATA)" -p minutes $(MINUTES) -p out "$(COMPARED)/runs"
	$(BIN)/jupyter-book build --quiet $(COMPARED)/compare.ipynb --config _config.yml --path-output $(COMPARED)
	@install --mode 644 book/static/book.css $(COMPARED)/_build/_page/compare/html/_static/
	@echo "The page: $(COMPARED)/_build/_page/compare/html/compare.html"

SWEEP ?= workflow/sweeps/smoke.yaml
PROFILE ?= local
sweep: $(READY)  ## run SWEEP=workflow/sweeps/NAME.yaml into results/NAME, all or DATASET=one; PROFILE=slurm
	$(BIN)/python workflow/run.py $(SWEEP) --profile $(PROFILE) $(if $(DATASET),--dataset $(DATASET))

repeat: $(READY)  ## train a published run of SWEEP=workflow/sweeps/NAME.yaml again: the same numbers?
	$(BIN)/python workflow/repeat.py $(SWEEP) --profile $(PROFILE)

test-slurm: SWEEP = tests/slurm/tiny.yaml
test-slurm: $(READY)  ## run a small sweep through a Slurm that starts on this machine
	@for c in munged slurmctld slurmd; do test -x /usr/sbin/$$c || missing=1; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
		apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends slurm-wlm munge; \
	elif [ -n "$$missing" ]; then \
		echo "Debian's packages slurm-wlm and munge are needed, and root to start them."; exit 1; \
	fi
	SEGLOSS_SLURM=$(SWEEP) $(BIN)/pytest tests/slurm

new-loss: $(READY)  ## make the skeleton of a loss: NAME=SquaredHinge FAMILY=region
	@$(BIN)/python tools/new_loss.py "$(NAME)" "$(FAMILY)"

lock:  ## resolve pyproject.toml into requirements.txt; UPGRADE=--upgrade takes newer versions
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/pip install --quiet uv
	.cache/lock/bin/uv pip compile pyproject.toml --extra test $(UPGRADE) --universal \
		--fork-strategy fewest --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --quiet --custom-compile-command "make lock" --output-file requirements.txt

clean:  ## remove what was built; the environment stays
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
