# make demo   a collapse seen, its cause proved and cured; and ours: in a fresh environment (.venv-demo)
# make test   lint, types and tests, in a development environment (.venv)
# make docs   the site of docs/, into site/
PYTHON ?= python3
PIP_FLAGS ?= --disable-pip-version-check

.PHONY: demo test lint types docs venv clean

.venv-demo/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install $(PIP_FLAGS) -q -e .
	touch $@

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install $(PIP_FLAGS) -q -e '.[dev]'
	touch $@

venv: .venv/.ready

demo: .venv-demo/.ready
	.venv-demo/bin/everyclass demo

lint: .venv/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/.ready
	.venv/bin/mypy

test: lint types
	# Two workers on two cores: threads of torch's own would only wait for each other.
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadscope

docs: .venv/.ready
	.venv/bin/python -m mkdocs build --strict

clean:
	rm -rf .venv .venv-demo build dist site .pytest_cache .mypy_cache .ruff_cache
