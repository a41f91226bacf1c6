# One command a habit. Every target sets itself up in .venv; nothing else is needed than Python 3.11+ and pip.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo up test test-kafka test-on-kafka test-failure kafka bench check format lock clean

setup: .venv/ready

.venv/ready: requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

demo: setup  ## half a year in the life of some 40 clients, in a minute
	$(BIN)/aftercare demo

up: setup  ## the whole stack in real time, until Ctrl-C
	$(BIN)/aftercare up

test: setup  ## unit, contract, integration and end-to-end tests
	$(BIN)/python -m pytest tests

kafka: .kafka/ready  ## Apache Kafka's jars, by Maven

.kafka/ready: tests/engines/pom.xml
	rm -rf .kafka
	mvn --quiet --batch-mode --file tests/engines/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.kafka
	touch $@

EVENTS ?= 20000
BACKLOG ?= 100000
SEED ?= 1
ONLY ?= test

test-kafka: test-on-kafka test-failure  ## the tests that need engines, on Apache Kafka; then things are broken

test-on-kafka: setup kafka  ## on one broker and one MongoDB member, then on three
	$(BIN)/python -m pytest tests/integration tests/e2e --kafka 1
	$(BIN)/python -m pytest tests/integration/shared tests/integration/scheduler --kafka 3

test-failure: setup kafka  ## three brokers, three members, and everything that can break is broken
	$(BIN)/python -m pytest tests/failure -k "$(ONLY)" --events $(EVENTS) --backlog $(BACKLOG) --seed $(SEED)

bench: setup kafka  ## how fast, beside what: a table with ratios
	$(BIN)/python -m benchmarks

check: setup  ## format, lint, types, imports, manifests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	deploy/check.sh

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:  ## pin every requirement with its hashes (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.txt
	uv pip compile pyproject.toml --group dev --extra embedded --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf .venv .kafka .data out
