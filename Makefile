# `make help` lists what there is. The virtual environments beside the sources:
#   .venv           the tools and the `checked` build (optimised, every assertion on), for tests and development.
#                   The package is installed in place: an edit under python/ counts at once, Rust needs `make build`.
#   .venv-release   the wheel that users get, for the demo and the benchmarks.
#   .venv-docs      what builds the pages.
#   .venv-bench     the wheels, and the Python servers they are compared with.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

MINUTES ?= 10
SOAK ?= release
SCALE ?= 5
SCHEDULES ?= 2000
SEEDS ?= 0..30000
JOBS ?= 1
EXAMPLES ?= 500
TOGETHER ?= 4
DEMO ?=
BENCH ?=
MICRO ?=
SIZING ?=

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
RELEASE_VENV := $(CURDIR)/.venv-release
DOCS_VENV := $(CURDIR)/.venv-docs
BENCH_VENV := $(CURDIR)/.venv-bench
WHEELS := build/wheels
PYTHON_SOURCES := python tests tools examples benches compliance deploy docs/conf.py
CHECKED := --profile checked --locked

# pip has nothing to say about itself here, and a lock without the right hashes is refused.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# One interpreter for every cargo call: PyO3 would be built again for each new one.
export PYO3_PYTHON := $(BIN)/python

# ---- What people type first ------------------------------------------------------------------------------------

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: doctor build-release ## release build, then the live demo on http://localhost:5007/ (DEMO="--auth" for more)
	@exec $(RELEASE_VENV)/bin/python -m wse_server.demo $(DEMO)

.PHONY: cluster-demo
cluster-demo: doctor build-release ## release build, then three nodes and a page that survives the death of each (DEMO="--port 5007")
	@exec $(RELEASE_VENV)/bin/python examples/cluster_demo $(DEMO)

.PHONY: test
test: doctor ## everything: Rust, Python, lints, types, the wheel, a short fuzz
	@MAKE='$(MAKE)' $(SHELL) tools/steps.sh venv format-check lint-python generate-check docs-check build lint-rust test-rust \
	    'beside-the-tests&' test-together wait test-alone autobahn-short wheel-smoke fuzz-short

.PHONY: doctor
doctor: ## say what is missing on this machine, if anything
	@$(SHELL) tools/doctor.sh

# ---- Building --------------------------------------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.ready ## the virtual environment with the tools, from requirements/dev.txt

$(VENV)/.ready: requirements/dev.txt
	@$(SHELL) tools/doctor.sh
	$$($(SHELL) tools/doctor.sh --python) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

$(RELEASE_VENV)/.ready: requirements/run.txt
	@$(SHELL) tools/doctor.sh
	$$($(SHELL) tools/doctor.sh --python) -m venv $(RELEASE_VENV)
	$(RELEASE_VENV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements/run.txt
	@touch $@

$(DOCS_VENV)/.ready: requirements/docs.txt
	@$(SHELL) tools/doctor.sh
	$$($(SHELL) tools/doctor.sh --python) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements/docs.txt
	@touch $@

$(BENCH_VENV)/.ready: requirements/bench.txt
	@$(SHELL) tools/doctor.sh
	$$($(SHELL) tools/doctor.sh --python) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements/bench.txt
	@touch $@

.PHONY: build
build: $(VENV)/.ready ## the checked build, installed in .venv in place
	VIRTUAL_ENV=$(VENV) $(BIN)/maturin develop --quiet $(CHECKED)

.PHONY: wheel
wheel: $(RELEASE_VENV)/.ready ## the abi3 wheel for users, in build/wheels
	@rm -rf $(WHEELS)
	PYO3_PYTHON=$(RELEASE_VENV)/bin/python $(RELEASE_VENV)/bin/maturin build --release --locked --out $(WHEELS) \
	    --interpreter $(RELEASE_VENV)/bin/python

.PHONY: wheel-client
wheel-client: $(RELEASE_VENV)/.ready ## the pure Python wheel of the client, in build/client
	@rm -rf build/client
	cd python/wse_client && $(RELEASE_VENV)/bin/python -m hatchling build -t wheel -d $(CURDIR)/build/client

.PHONY: build-release
build-release: wheel wheel-client ## the wheels, installed in .venv-release; its bin/ has the command wse
	$(RELEASE_VENV)/bin/python $(PIP_INSTALL) --no-deps --force-reinstall $(WHEELS)/*.whl build/client/*.whl

.PHONY: generate
generate: $(VENV)/.ready ## write what is generated: stub, option and code tables, their reference pages, the page on the command line
	$(BIN)/python tools/generate.py

# The docstrings of the native module are those that `make build` left in python/wse_server.
.PHONY: docs
docs: $(DOCS_VENV)/.ready ## the pages as a site, in build/docs; a reference that leads nowhere is an error
	$(DOCS_VENV)/bin/python tools/stage_docs.py build/pages
	$(DOCS_VENV)/bin/sphinx-build --quiet --fresh-env --fail-on-warning -c docs -d build/doctrees build/pages build/docs

.PHONY: vectors
vectors: $(VENV)/.ready ## write spec/vectors: what other people's libraries make of the same messages
	$(BIN)/python tools/vectors.py

.PHONY: lock
lock: ## write requirements/*.txt from requirements/*.in
	@test -x build/lock/bin/uv || { $$($(SHELL) tools/doctor.sh --python) -m venv build/lock && \
	    build/lock/bin/python $(PIP_INSTALL) uv; }
	@for name in run image dev docs bench; do build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' $(LOCK) \
	    requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

# ---- Checking --------------------------------------------------------------------------------------------------

.PHONY: test-rust
test-rust: $(VENV)/.ready ## cargo test; the binding has none, for Python tests it
	cargo test --quiet $(CHECKED) --workspace

.PHONY: test-python
test-python: $(VENV)/.ready ## pytest on what `make build` installed (ARGS="-k name": one by one)
ifeq ($(ARGS),)
	$(MAKE) --no-print-directory test-together test-alone
else
	$(BIN)/python -m pytest $(ARGS)
endif

.PHONY: test-together
test-together: $(VENV)/.ready
	$(BIN)/python -m pytest --quiet -m "not alone" --numprocesses $(TOGETHER) --dist worksteal

.PHONY: test-alone
test-alone: $(VENV)/.ready
	$(BIN)/python -m pytest --quiet -m alone

# Tests wait for servers most of the time; the processor does this meanwhile.
.PHONY: beside-the-tests
beside-the-tests: types stubtest docs last-builds

.PHONY: hostile
hostile: $(VENV)/.ready ## the attacks of tests/hostile, SCALE (5) times as many and as long, with what they cost
	HOSTILE_SCALE=$(SCALE) $(BIN)/python -m pytest tests/hostile -s -v --timeout 900 $(ARGS)

.PHONY: recovery-model
recovery-model: $(VENV)/.ready ## recovery against a plain model, SCHEDULES (2000) random stories of it
	WSE_SCHEDULES=$(SCHEDULES) $(BIN)/python -m pytest tests/test_recovery_model.py $(ARGS)

.PHONY: http-contract
http-contract: $(VENV)/.ready ## the HTTP API against its description, EXAMPLES (500) requests of each kind for each path
	WSE_CONTRACT_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/test_http_api_contract.py --timeout 1800 $(ARGS)

.PHONY: partitions
partitions: $(VENV)/.ready ## a network of namespaces cut, reset and healed, each trouble that repeats for MINUTES (10); needs root
	WSE_PARTITIONS_SECONDS=$$(($(MINUTES) * 60)) $(BIN)/python -m pytest tests/test_cluster_partitions.py tests/test_cluster_history_partitions.py -v \
	    --timeout $$(($(MINUTES) * 60 + 120)) $(ARGS)

.PHONY: client-storm
client-storm: $(VENV)/.ready ## the client behind a network that cuts, stalls, trickles and resets, for MINUTES (10)
	WSE_STORM_MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/client/test_storm.py -s $(ARGS)

.PHONY: deploy-long
deploy-long: $(VENV)/.ready ## nginx and HAProxy with silent clients for longer than the minute after which proxies give up by default
	WSE_DEPLOY_LONG=1 $(BIN)/python -m pytest tests/deploy/test_nginx.py tests/deploy/test_haproxy.py -k 75_seconds -v $(ARGS)

.PHONY: sim
sim: ## worlds of nodes in trouble, as seeds decide (SEEDS=0..30000, JOBS=2, ARGS="--class P")
	cargo run --quiet $(CHECKED) -p wse-sim -- --seeds $(SEEDS) --jobs $(JOBS) $(ARGS)

.PHONY: sim-faults
sim-faults: ## each rule of the history left out once: the worlds find it
	cargo test --quiet $(CHECKED) -p wse-sim --features faults --test faults -- --nocapture

.PHONY: lint
lint: lint-rust lint-python types ## clippy, ruff, mypy

.PHONY: lint-rust
lint-rust: $(VENV)/.ready
	cargo clippy --quiet $(CHECKED) --workspace --all-targets -- -D warnings

.PHONY: lint-python
lint-python: $(VENV)/.ready
	$(BIN)/ruff check $(PYTHON_SOURCES)

.PHONY: types
types: $(VENV)/.ready ## mypy --strict
	$(BIN)/mypy --strict
	cd benches && $(BIN)/mypy --strict run.py wsebench server.py hop.py node.py interests.py python.py pybench sizing.py sizes

.PHONY: stubtest
stubtest: $(VENV)/.ready ## the stub of the native module against the module itself
	MYPYPATH=python $(BIN)/stubtest wse_server._native

.PHONY: generate-check
generate-check: $(VENV)/.ready ## fail if a generated file is stale
	$(BIN)/python tools/generate.py --check
	$(BIN)/python tools/vectors.py --check

.PHONY: docs-check
docs-check: $(VENV)/.ready ## links and paths in the documents lead somewhere
	$(BIN)/python tools/check_docs.py

.PHONY: format
format: $(VENV)/.ready ## rustfmt and ruff format
	cargo fmt --all
	$(BIN)/ruff format $(PYTHON_SOURCES)
	$(BIN)/ruff check --fix-only --quiet $(PYTHON_SOURCES)

.PHONY: format-check
format-check: $(VENV)/.ready
	cargo fmt --all --check
	$(BIN)/ruff format --check $(PYTHON_SOURCES)

.PHONY: wheel-smoke
wheel-smoke: $(VENV)/.ready ## the wheel in fresh environments under every CPython here
	$(BIN)/python tools/wheel_smoke.py $(WHEELS) build/client

.PHONY: autobahn
autobahn: build ## the whole Autobahn suite; its report is kept in compliance/report/
	nice -n 10 $(BIN)/python compliance/autobahn.py full

.PHONY: autobahn-short
autobahn-short: $(VENV)/.ready
	$(BIN)/python compliance/autobahn.py short

.PHONY: fuzz
fuzz: ## fuzz the parsers for MINUTES (10), shared among the targets
	$(SHELL) fuzz/run.sh $$(($(MINUTES) * 60))

.PHONY: fuzz-each
fuzz-each: ## fuzz each target for MINUTES, two at a time; the table is kept in fuzz/results
	$(SHELL) fuzz/run.sh each $$(($(MINUTES) * 60))

# The wheel is linked by one core; the fuzz targets are built by the other.
.PHONY: last-builds
last-builds:
	@$(SHELL) fuzz/run.sh build & fuzz=$$!; $(MAKE) wheel wheel-client && wait $$fuzz

.PHONY: fuzz-short
fuzz-short:
	$(SHELL) fuzz/run.sh 30

.PHONY: tsan
tsan: ## the thread sanitizer over the tests of wse-node (needs a nightly Rust)
	$(SHELL) tools/tsan.sh

# ---- Measuring -------------------------------------------------------------------------------------------------

.PHONY: bench
bench: doctor build-release ## this build, the earlier release and the floor, interleaved (BENCH="--rounds 9")
	$(RELEASE_VENV)/bin/python benches/run.py $(BENCH)

.PHONY: bench-cluster
bench-cluster: doctor build-release ## messages through a hop, beside the same without one (BENCH="--only flood --earlier PYTHON")
	$(RELEASE_VENV)/bin/python benches/hop.py $(BENCH)

.PHONY: bench-python
bench-python: doctor wheel wheel-client $(BENCH_VENV)/.ready ## Server beside FastAPI and picows; publishing, waking, the client (BENCH="--only chat")
	$(BENCH_VENV)/bin/python $(PIP_INSTALL) --no-deps --force-reinstall $(WHEELS)/*.whl build/client/*.whl
	$(BENCH_VENV)/bin/python benches/python.py $(BENCH)

.PHONY: sizing
sizing: doctor build-release ## memory and CPU for 1,000 to 500,000 connections; fills docs/reference/sizing.md (SIZING="--short --out DIR")
	$(BIN)/python benches/sizing.py --python $(RELEASE_VENV)/bin/python $(SIZING)

.PHONY: soak
soak: $(if $(filter checked,$(SOAK)),build,build-release) ## clients of every kind for MINUTES (10), and what is left (SOAK=checked)
	PYTHONPATH=tools $(if $(filter checked,$(SOAK)),$(BIN),$(RELEASE_VENV)/bin)/python -m soak --minutes $(MINUTES) $(ARGS)

.PHONY: bench-micro
bench-micro: ## what parsing a frame costs, next to the least that it can cost (MICRO="--quick", MICRO="--save")
	cargo run --release --locked --quiet -p wse-micro -- $(MICRO)

.PHONY: clean
clean: ## remove what was built, the virtual environments included
	rm -rf build target fuzz/target .venv .venv-release .venv-docs .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f python/wse_server/_native*.so
