# make demo   set up and run the main job on a real image (and on IMAGES="a.tif b.tif")
# make test   set up and run every test
# make quick  the tests of the core alone: no browser, no torch, about a minute
# make docs   build the documentation into build/site (open index.html there)
# make lab    open JupyterLab on the quickstart notebook
# make env    only make .venv
# make parity compare SAM with the original package (an environment of its own)

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
IMAGES ?=
ARGS ?=

# what fits a minute: numbers, files and floors, without browser, notebooks or models
QUICK := floors masks window shape distribution agreement matching cascade scale psd_reference \
	history residuals surface

.PHONY: help env demo test quick lint docs lab browser parity clean

help:
	@sed -n 's/^# make/make/p' Makefile

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; install one or give PYTHON=/path/to/python"; exit 1; }
	test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: env
	$(PY) -m particle_nb demo --out runs/demo $(IMAGES)

# the notebooks that the tests run stay in build/executed, where `make docs` finds them
test: env browser
	OMP_NUM_THREADS=1 $(PY) -m pytest -q tests/browser
	OMP_NUM_THREADS=1 PARTICLE_NB_EXECUTED=$(CURDIR)/build/executed \
	$(PY) -m pytest -q -n auto --dist worksteal --ignore=tests/browser $(ARGS)

quick: env
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n auto --dist worksteal particle_nb/core $(QUICK:%=tests/test_%.py) $(ARGS)

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy particle_nb training

# runs the notebooks that are older than the package and the code of every page, builds strictly,
# checks links and the site
docs: env $(VENV)/.docs
	OMP_NUM_THREADS=1 $(PY) docs/tools/build.py
	PARTICLE_NB_SITE=build/site $(PY) -m pytest -q -n auto tests/test_docs.py -k "the_site or the_code_of_a_page"

$(VENV)/.docs: $(STAMP)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

# the browser tests drive a Chromium of the system; where it can be installed, it is
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && { apt-get -qq update && apt-get -qq -y install chromium; } >/dev/null 2>&1; } || \
	echo "no Chromium found: the browser tests will be skipped (install the package chromium)"

# the original segment-anything package as an oracle, in an environment of its own
parity: .venv-parity/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=. .venv-parity/bin/python -m pytest -q -p no:cacheprovider tests/parity $(ARGS)

.venv-parity/.installed: tests/parity/requirements.txt
	test -x .venv-parity/bin/python || "$(PYTHON)" -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet --disable-pip-version-check -r tests/parity/requirements.txt
	@touch $@

lab: env
	$(VENV)/bin/jupyter lab notebooks/quickstart.ipynb

clean:
	rm -rf $(VENV) .venv-parity runs build dist
