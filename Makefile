# Repeats what `python3 run.py` and .ci/run do, for those who have make.
PYTHON = .venv/bin/python

.PHONY: check format lint types layers test docs schema lock

check: lint types layers test

format:
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lint:
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

types:
	.venv/bin/mypy

layers:
	$(PYTHON) -m pytest -q tests/test_layers.py

test:
	$(PYTHON) -m pytest -q -n auto

docs:
	.venv/bin/homeserver config sample > homeserver.sample.toml
	.venv/bin/homeserver config docs > docs/config.md
	$(PYTHON) -m tests.spec_coverage

# Only before the first release, while the schema is still the first migration.
schema:
	cp storage/schema.sql storage/migrations/0001_initial.sql

lock:
	python3 run.py lock
