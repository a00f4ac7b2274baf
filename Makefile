# The two commands that matter: `make demo` and `make test`. Each makes what it needs, and goes on where it stopped.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo demo-down prepare test test-stores test-caches test-faults test-transitions test-quick soak bench bench-caches lint format crds manifests golden lock images cluster-down

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(READY): requirements-dev.lock pyproject.toml
	@echo "==> Python environment in $(VENV)"
	@tools/python-environment "$(PYTHON)" "$(VENV)"
	@touch $@

demo: $(READY)  ## A real Glance on a real Kubernetes: from nothing to an image uploaded and downloaded
	@$(RUN)/python -m demo up

demo-down: $(READY)  ## Take the demo down
	@$(RUN)/python -m demo down

prepare: $(READY)  ## Build and install what the tests and the demo need (a second where it is there)
	@$(RUN)/python -m tests.prepare

# Three workers, also on two processors: half of the time a test waits. tests/workers.py says how they share the tests.
# `sweep` takes away what a killed worker may have left.
test: $(READY)  ## Every check, and every test but those below (real API server, real Glance, real nodes)
	@$(MAKE) --no-print-directory --jobs=2 lint prepare
	@status=0; $(RUN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not ceph and not caches" || status=$$?; \
	  $(RUN)/python -m tests.cluster sweep; exit $$status

test-stores: $(READY) prepare  ## Stores in real Ceph, S3 and Swift, and a centre with an edge on real nodes
	@status=0; $(RUN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m ceph || status=$$?; \
	  $(RUN)/python -m tests.cluster sweep; exit $$status

# One after the other: they share a cluster and a site on it.
test-caches: $(READY) prepare  ## Caches on real nodes: power, volumes, ways in, room, idleness, every release
	@status=0; $(RUN)/pytest -m caches || status=$$?; $(RUN)/python -m tests.cluster sweep; exit $$status

# What to try: `make test-transitions ARGUMENTS="-k created_so"`, as pytest takes it.
test-transitions: $(READY) prepare  ## Specs generated from the CRDs, changed there and back, and every way out of an error
	@status=0; $(RUN)/pytest -n 3 --dist loadfile --no-loadscope-reorder tests/transitions $(ARGUMENTS) || status=$$?; \
	  $(RUN)/python -m tests.cluster sweep; exit $$status

test-faults: $(READY) prepare  ## Every fault at every write, and these transitions: what the loop withstands
	@status=0; $(RUN)/pytest -n 3 --dist loadfile --no-loadscope-reorder tests/faults tests/transitions || status=$$?; \
	  $(RUN)/python -m tests.cluster sweep; exit $$status

test-quick: $(READY) lint  ## The inner loop: units, golden files, and the API on a real API server with fake nodes
	@$(RUN)/pytest -n 2 --dist loadfile tests/unit tests/golden tests/integration/test_api_admission.py

# What to measure and where it goes: `make bench ARGUMENTS="-n 1,20 --output DIR"`, all of it: `make bench ARGUMENTS=--help`.
bench: $(READY)  ## Measure the operator with 1, 20, 100 and 500 ImageServices beside its targets
	@$(RUN)/python -m bench $(ARGUMENTS)

bench-caches: $(READY) prepare  ## Measure how the caches of nodes are filled: beside curl, and beside doing it by hand
	@$(RUN)/python -m bench.caches $(ARGUMENTS)

MINUTES ?= 30
soak: $(READY)  ## Changes, faults and reads at random: MINUTES=30 (and SEED=…, to have them again)
	@$(RUN)/python -m tests.soak --minutes $(MINUTES) $${SEED:+--seed $$SEED}

lint: $(READY)  ## Style, types, layers
	@$(RUN)/ruff check --quiet .
	@$(RUN)/ruff format --check --quiet .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-cache | tail -n 4

format: $(READY)  ## Put the code into shape
	@$(RUN)/ruff check --fix --quiet . ; $(RUN)/ruff format --quiet .

crds: $(READY)  ## Write crds/ from the models, and the chart's copies of them
	@$(RUN)/image-service-operator crds crds
	@$(RUN)/python -m tools.manifests crds

manifests: crds  ## Write manifests/install.yaml from the chart
	@$(RUN)/python -m tools.manifests install

golden: $(READY)  ## Write the expected files of tests/golden anew; read the difference before committing it
	@$(RUN)/python tests/golden/test_golden.py --write

lock: $(READY)  ## Pin the newest allowed versions
	@$(RUN)/python -m pip install --quiet uv
	@for group in "" dev; do \
	  $(RUN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links pyproject.toml $${group:+--group $$group} \
	    --output-file requirements$${group:+-$$group}.lock; done

images: $(READY)  ## Build every container image of the demo and the tests
	@$(RUN)/python -m tests.cluster.images build

cluster-down: $(READY)  ## Remove what crashed test clusters may have left behind
	@$(RUN)/python -m tests.cluster sweep
