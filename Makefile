# `make help` lists the targets. Everything is installed in .venv, once; later runs reuse it.
# Another interpreter: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS := $(VENV)/.ready-docs

.PHONY: help demo test lint readme bench figures docs campaign clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-14s%s\n", $$1, $$2 }'

demo: $(READY) ## train a model, draw samples and measure them: about two minutes
	$(BIN)/python -m toy_score fit --config configs/ncsn_heart.yaml
	@run=$$(ls -td lightning_logs/ncsn_heart/version_* | head -n 1) && \
	$(BIN)/python -m toy_score predict --ckpt_path $$run/checkpoints/last.ckpt --output $$run/samples.npy && \
	$(BIN)/python -m toy_score test --ckpt_path $$run/checkpoints/last.ckpt && \
	$(BIN)/python -m toy_score play $$run --output $$run/play.html && \
	printf '%s\n' "" "pictures:  $$run/pictures" "samples:   $$run/samples.npy" "play:      $$run/play.html" "" "next:" \
	  "  source $(BIN)/activate" \
	  "  tensorboard --logdir lightning_logs" \
	  "  python -m toy_score predict --ckpt_path $$run/checkpoints/last.ckpt --output heart.gif"

test: $(READY) ## run the tests on all cores: about four minutes on two
	@echo "Running the tests on all cores: about four minutes on two. Each dot is a passed test; the slowest ten are listed at the end."
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --durations 10

# The settings of all four are in pyproject.toml.
lint: $(READY) ## check style, types, and that imports point to a lower layer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# `--quick` uses this environment and short trainings.
readme: $(READY) ## run every command of the README in a fresh clone: about ten minutes
	$(BIN)/python docs/paste_readme.py

# Each line can be run alone.
bench: $(READY) ## measure speed and quality again: about an hour
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.flow_maps
	$(BIN)/python -m benchmarks.time_to_quality
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.sampling
	$(BIN)/python -m benchmarks.oracles
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.processes
	$(BIN)/python -m benchmarks.busy
	$(BIN)/python -m benchmarks.optimisations
	$(BIN)/python -m benchmarks.couplings
	$(BIN)/python -m benchmarks.bridges
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.power

figures: $(READY) ## draw the figures of the documents again, with their tables: about an hour
	$(BIN)/python -m docs.figures.gallery
	$(BIN)/python -m docs.figures.framework
	$(BIN)/python -m docs.figures.flow_maps
	$(BIN)/python -m docs.figures.couplings
	$(BIN)/python -m docs.figures.pictures
	$(BIN)/python -m docs.figures.tutorials
	$(BIN)/python -m docs.figures.samplers
	$(BIN)/python -m docs.figures.last_step
	$(BIN)/python -m docs.figures.averages
	$(BIN)/python -m docs.figures.budget
	$(BIN)/python -m docs.figures.compare
	$(BIN)/python -m docs.figures.section3
	$(BIN)/python -m docs.figures.points
	$(BIN)/python -m docs.figures.points --picture

# Warnings are errors; nothing is loaded from the network while it builds.
docs: $(DOCS) ## build the site in docs/_build/html: it trains a model and runs its own examples: three minutes of CPU
	$(BIN)/sphinx-build -W --keep-going -j auto -b html docs docs/_build/html
	@printf '%s\n' "" "open in a browser:  file://$(CURDIR)/docs/_build/html/index.html"

campaign: $(READY) ## try kills, full disks, damaged input, odd numbers, other seeds and planted errors: some hours
	$(BIN)/python -m campaign.kills
	$(BIN)/python -m campaign.storage
	$(BIN)/python -m campaign.fuzz
	TOY_SCORE_EXAMPLES=2000 $(BIN)/python -m pytest tests/test_properties.py tests/test_properties_of_points.py
	$(BIN)/python -m campaign.seeds
	$(BIN)/python -m campaign.mutants

$(READY): pyproject.toml
	@echo "Installing into $(VENV), once: torch alone is some hundred megabytes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

$(DOCS): $(READY)
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

clean: ## remove the environment and the caches
	rm -rf $(VENV) build docs/_build docs/gallery dist .pytest_cache .mypy_cache .import_linter_cache .ruff_cache
