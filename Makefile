# make demo | make test | make lint | make readme | make bench. Everything lives in .venv; what is installed is not installed again.
# Another interpreter: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint readme bench clean

# Train, sample, measure: a minute, most of it for measuring.
demo: $(READY)
	$(BIN)/python -m toy_score fit --config configs/ncsn_heart.yaml
	@run=$$(ls -td lightning_logs/ncsn_heart/version_* | head -n 1) && \
	$(BIN)/python -m toy_score predict --ckpt_path $$run/checkpoints/last.ckpt --output $$run/samples.npy && \
	$(BIN)/python -m toy_score test --ckpt_path $$run/checkpoints/last.ckpt && \
	printf '%s\n' "" "pictures:  $$run/pictures" "samples:   $$run/samples.npy" "" "next:" \
	  "  source $(BIN)/activate" \
	  "  tensorboard --logdir lightning_logs" \
	  "  python -m toy_score predict --ckpt_path $$run/checkpoints/last.ckpt --output heart.gif"

test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# Style, types, and the floors that imports may not climb; the settings are in pyproject.toml.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every command of the README in a fresh clone, some ten minutes; `--quick` takes this environment and short trainings.
readme: $(READY)
	$(BIN)/python docs/paste_readme.py

# All figures of the documents on speed and quality, the better part of an hour; each line alone does one part.
bench: $(READY)
	$(BIN)/python -m benchmarks.exact
	$(BIN)/python -m benchmarks.samplers
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.time_to_quality
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.sampling
	$(BIN)/python -m benchmarks.oracles
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.processes
	$(BIN)/python -m benchmarks.busy
	$(BIN)/python -m benchmarks.means
	$(BIN)/python -m benchmarks.peers

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .import_linter_cache .ruff_cache
