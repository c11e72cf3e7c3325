# Each target sets itself up: python3, make and git are enough.
UV_VERSION := 0.13.9
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --frozen --quiet
SAM := $(UV) tool run --quiet --from aws-sam-cli==1.170.0 sam
export UV
# Without bytecode each of the tests' hundreds of processes would compile everything it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick simulate simulate-mutants local bench check unit integration template e2e layer format schemas build release help
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: setup ## drop real photographs into the embedded stack; results in demo-out/ (PHOTOS=dir: yours)
	@$(RUN) python -m image_drop_local.demo

local: setup ## the embedded stack in the foreground (PORT=4566, VENICE_BASE_URL, VENICE_API_KEY)
	@$(RUN) python -m image_drop_local.emulator

# The slow folders first, so that the last minute has many short tests to spread.
ALL_TESTS := tests/e2e tests/integration tests/simulation tests/unit tests/template tests/docs
test: ## everything: lint, types, all tests; T=tests/unit/test_x.py: only these
	@$(MAKE) --no-print-directory -j 2 --output-sync=target $(if $(T),setup,check) browser
	$(RUN) pytest $(if $(T),$(T),-n 4 --no-loadscope-reorder $(ALL_TESTS))

quick: check ## under a minute: lint, types, unit tests but the slow ones
	$(RUN) pytest -n 2 -m "not slow" tests/unit tests/template tests/docs

simulate: setup ## the whole system under faults drawn from seeds (SEEDS=1000, FROM=0)
	$(RUN) python -m tests.simulation --seeds $(or $(SEEDS),1000) --from $(or $(FROM),0)

simulate-mutants: setup ## put old breaks back, one at a time; each has to be found (HUNT=1: anew)
	$(RUN) python -m tests.simulation.mutants $(if $(HUNT),--hunt)

bench: setup ## the benchmarks; tables and plots in benchmarks/
	$(UV) run --frozen --quiet --group bench python -m benchmarks

check: setup
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) codespell
	$(RUN) lint-imports --no-cache
	$(RUN) mypy

template: setup
	$(RUN) pytest tests/template

unit: setup
	$(RUN) pytest tests/unit -n 2

integration: setup
	$(RUN) pytest tests/integration -n 2

e2e: setup browser
	$(RUN) pytest tests/e2e -n 2

format: setup ## let ruff put the code in order
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

layer: setup ## export the runtime layer's packages from the lock
	$(UV) export --quiet --frozen --only-group runtime --no-emit-project --no-header \
	  --output-file layers/runtime/requirements.txt

schemas: setup ## write the JSON Schemas of instructions, reports and events to events/schema/
	$(RUN) python -m scripts.schemas

build: setup ## what `sam deploy` uploads, in .aws-sam/
	$(RUN) $(SAM) build

# SOURCE_DATE_EPOCH: the time of the commit, so that the same commit gives the same files.
release: setup ## what a version publishes, in dist/ (TAG=v1.2.3: only that version; URL: where its files will be)
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} \
	  $(RUN) python -m scripts.release $(if $(TAG),--tag $(TAG)) $(if $(URL),--url $(URL))

# The tests of the console need a Chromium: one of the machine, else one that this installs.
.PHONY: browser
browser: setup
	@$(RUN) python -m tests.support.browser

.PHONY: setup
setup: $(if $(findstring .tools,$(UV)),.tools/bin/uv)
	@$(UV) sync --frozen --quiet

.tools/bin/uv:
	@python3 -m venv .tools || { echo "python3 cannot make a virtual environment; install python3-venv, or uv (https://docs.astral.sh/uv/), and try again." >&2; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
