# make demo | make test | make lint | make readme | make bench | make figures. Everything is installed in .venv, once; later runs reuse it.
# Another interpreter: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint readme bench figures clean

# Train, sample, measure: about a minute.
demo: $(READY)
	$(BIN)/python -m toy_score fit --config configs/ncsn_heart.yaml
	@run=$$(ls -td lightning_logs/ncsn_heart/version_* | head -n 1) && \
	$(BIN)/python -m toy_score predict --ckpt_path $$run/checkpoints/last.ckpt --output $$run/samples.npy && \
	$(BIN)/python -m toy_score test --ckpt_path $$run/checkpoints/last.ckpt && \
	$(BIN)/python -m toy_score play $$run --output $$run/play.html && \
	printf '%s\n' "" "pictures:  $$run/pictures" "samples:   $$run/samples.npy" "play:      $$run/play.html" "" "next:" \
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

# Run every command of the README in a fresh clone: about ten minutes. `--quick` uses this environment and short trainings.
readme: $(READY)
	$(BIN)/python docs/paste_readme.py

# Measure speed and quality again: about an hour. Each line can be run alone.
bench: $(READY)
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
	$(BIN)/python -m benchmarks.power

# Draw the figures of the documents again, and make the tables beside them: about an hour.
figures: $(READY)
	$(BIN)/python -m docs.figures.gallery
	$(BIN)/python -m docs.figures.framework
	$(BIN)/python -m docs.figures.pictures
	$(BIN)/python -m docs.figures.samplers
	$(BIN)/python -m docs.figures.budget
	$(BIN)/python -m docs.figures.section3
	$(BIN)/python -m docs.figures.points
	$(BIN)/python -m docs.figures.points --picture

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .import_linter_cache .ruff_cache
