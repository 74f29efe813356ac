# Every target sets up what it needs by itself, in virtual environments inside the project.
VENV := .venv
PYTHON := $(VENV)/bin/python
LOWEST := .venv-lowest
WHEEL := .venv-wheel
SDIST := .venv-sdist
BESIDE := .venv-beside
INSTRUMENTATIONS := openinference traceloop v2 logfire
PURELIB := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
DIR ?= tests/golden/recordings
# Not from the environment: the shell has a variable of that name, how long it has been running.
LOAD_SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),60)

.PHONY: help demo examples serve test chaos soak test-service stack test-stack test-lowest test-beside test-pythons bench check format types dashboards check-dashboards pictures docs terminal-picture golden reference wheel clean

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.cli  ## a team of agents under budgets, live, with nothing but this
	@$(VENV)/bin/cycles-otel demo $(ARGS)

examples: $(VENV)/.cli  ## run the examples, with nothing, or for real where OPENAI_API_KEY and CYCLES_* are set
	@for each in basic_budget tool_governance multi_agent; do \
		echo "== examples/$$each.py"; $(PYTHON) examples/$$each.py || exit 1; echo; \
	done

serve: $(VENV)/.cli  ## the embedded Cycles server on 127.0.0.1:7878 (BUDGETS=file.yaml)
	@$(VENV)/bin/cycles-otel serve $(if $(BUDGETS),--budgets $(BUDGETS)) $(ARGS)

test: $(VENV)/.dev  ## the whole test suite (ARGS='-k heartbeat' for a part of it)
	@$(PYTHON) -m pytest -q -n auto $(ARGS)

chaos: $(VENV)/.dev  ## thousands of seeded schedules of faults (SEEDS=5000), or one that failed (SEED=123)
	@SEED=$(SEED) SEEDS=$(if $(SEEDS),$(SEEDS),3000) FIRST_SEED=$(FIRST_SEED) $(PYTHON) -m pytest -q -n $(if $(SEED),0 -s,auto) --show-capture=no tests/chaos/test_schedules.py $(ARGS)

soak: $(VENV)/.dev  ## 50,000 governed steps at 64 at a time with 1 % faults: memory flat, nothing left (ARGS='--steps 5000')
	@$(PYTHON) -m tests.chaos.soak $(ARGS)

test-service: $(VENV)/.dev  ## the service of examples/ under load, with restarts of the Cycles server (SECONDS=60)
	@$(PYTHON) -m tests.service.load --seconds $(LOAD_SECONDS)

stack:  ## a real Prometheus and a real OpenTelemetry Collector, built by Go into a cache outside of the clone
	@python3 scripts/stack/set_up.py

test-stack: $(VENV)/.schemas  ## telemetry on every route into these real parts (ARGS='-k native')
	@STACK=$$(python3 scripts/stack/set_up.py) && export STACK && $(PYTHON) -m pytest -q -n auto --dist loadscope tests/stack $(ARGS)

test-lowest: $(LOWEST)/.dev  ## the same suite with the lowest supported versions
	@$(LOWEST)/bin/python -m pytest -q -n auto -p no:cacheprovider $(ARGS)

test-beside: $(INSTRUMENTATIONS:%=$(BESIDE)/%/.ready)  ## our spans beside those of each instrumentation of the Agents SDK
	@$(PYTHON) -m pytest -q -n auto tests/beside $(ARGS)

bench: $(INSTRUMENTATIONS:%=$(BESIDE)/%/.ready) $(BESIDE)/runcycles/.ready  ## compare with the bare SDK and with others, into benchmarks/RESULTS.md (ten minutes, on a calm machine)
	@$(PYTHON) -m benchmarks --write benchmarks/RESULTS.md $(ARGS)

check: $(VENV)/.dev  ## lint, format, types, generated files in sync
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy
	@$(PYTHON) -m cycles_otel.telemetry.reference | diff -u docs/telemetry.md - || (echo "docs/telemetry.md is out of date: make reference"; exit 1)
	@$(PYTHON) -m dashboards.generate --check

format: $(VENV)/.dev  ## write the format that check demands
	@$(VENV)/bin/ruff check --fix --quiet .
	@$(VENV)/bin/ruff format --quiet .

dashboards: $(VENV)/.dev  ## write dashboards/ from what generates it
	@$(PYTHON) -m dashboards.generate

check-dashboards:  ## the dashboards against Grafana's own schema (needs node and npm)
	@cd dashboards/schema-check && npm ci --silent --no-audit --no-fund && node check.mjs ../*.json

pictures: $(VENV)/.dev  ## draw the dashboards for the documentation, with the data of a desk at work (ten minutes)
	@$(PYTHON) -m pip install --quiet --group pictures
	@STACK=$$(python3 scripts/stack/set_up.py) && export STACK && $(PYTHON) -m scripts.pictures $(ARGS)

terminal-picture: $(VENV)/.dev  ## draw the demo in a terminal for the documentation (a minute)
	@$(PYTHON) -m scripts.pictures.terminal

docs: $(VENV)/.docs  ## build the documentation, strictly, into site/ (ARGS=serve to read it while it is written)
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs $(if $(ARGS),$(ARGS),build --strict --quiet)

golden: $(VENV)/.dev  ## replay the recordings of a real server (DIR=folder) against the embedded one
	@$(PYTHON) -m tests.golden.replay $(DIR)

reference: $(VENV)/.dev  ## write docs/telemetry.md from the one table
	@$(PYTHON) -m cycles_otel.telemetry.reference > docs/telemetry.md

wheel: $(VENV)/.dev  ## build wheel and sdist, install each in a clean environment, do there what the README says
	@rm -rf dist $(WHEEL) $(SDIST)
	@$(PYTHON) -m build --quiet
	@$(PYTHON) -m twine check --strict dist/*
	@python3 -m venv $(SDIST) && $(SDIST)/bin/python -m pip install --quiet dist/*.tar.gz
	@cd / && $(CURDIR)/$(SDIST)/bin/python $(CURDIR)/scripts/try_wheel.py
	@python3 -m venv $(WHEEL) && $(WHEEL)/bin/python -m pip install --quiet dist/*.whl
	@cd / && $(CURDIR)/$(WHEEL)/bin/python $(CURDIR)/scripts/try_wheel.py
	@$(WHEEL)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(WHEEL)/bin/python -m pip install --quiet "$$(echo dist/*.whl)[cli]" --group readme --group typing
	@cd / && $(CURDIR)/$(WHEEL)/bin/python $(CURDIR)/scripts/try_readme.py
	@cp -r tests/typing $(WHEEL)/program
	@cd $(WHEEL)/program && ../bin/mypy --strict --config-file= program.py && ../bin/pyright --pythonpath ../bin/python

test-pythons:  ## what depends on the version of Python, with each of 3.10 to 3.13 that is found (ARGS='tests' for all)
	@python3 scripts/test_pythons.py $(ARGS)

clean:  ## remove what the other targets made
	@rm -rf $(VENV) $(LOWEST) $(WHEEL) $(SDIST) $(BESIDE) .venv-py3* dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis dashboards/schema-check/node_modules

$(VENV)/bin/python:
	@python3 -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.cli: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) (once)…"
	@$(PYTHON) -m pip install --quiet --editable '.[cli]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) for development (once)…"
	@$(PYTHON) -m pip install --quiet --editable '.[cli]' --group test --group check --group dashboards
	@touch $@ $(VENV)/.cli

$(VENV)/.docs: $(VENV)/.dev
	@$(PYTHON) -m pip install --quiet --group docs
	@touch $@

$(VENV)/.schemas: $(VENV)/.dev
	@$(PYTHON) -m pip install --quiet --group schemas
	@touch $@

$(LOWEST)/.dev: pyproject.toml scripts/lowest_constraints.py
	@echo "Setting up $(LOWEST) with the lowest supported versions (once)…"
	@python3 -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@python3 scripts/lowest_constraints.py > $(LOWEST)/constraints.txt
	@$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt --editable '.[cli]' --group test --group dashboards
	@touch $@

# It sees what $(VENV) has, and holds no more than the one instrumentation and what that needs besides.
$(BESIDE)/%/.ready: $(VENV)/.dev
	@echo "Setting up $(@D) (once)…"
	@$(PYTHON) -m venv --clear --without-pip $(@D)
	@$(PYTHON) $(PURELIB) > "$$($(@D)/bin/python $(PURELIB))/of_the_project.pth"
	@$(PYTHON) -m pip --python $(@D)/bin/python install --quiet --group beside-$*
	@touch $@
