# make up    installs, then runs the product          make test  installs, then passes the tests
VENV ?= .venv
PY = $(VENV)/bin/python
INSTALLED = $(VENV)/.installed-$(shell cat deploy/install deploy/lock/*.txt | sha256sum | cut -c1-16)
UP ?=
TESTS ?=

.PHONY: help install up test check pytest debian demo-model bench-gateway bench-propagation soak-gateway lock

help:
	@echo 'make up                 install, then run the whole product (make up UP="--portal-port 9000")'
	@echo 'make test               install, then every check and test (make test TESTS=tests/contract)'
	@echo 'make check              linters, types, import rules, migrations'
	@echo 'make bench-gateway      latency and throughput of the gateway against bare LiteLLM'
	@echo 'make bench-propagation  from a click in the console to its enforcement'
	@echo 'make soak-gateway       limits under parallel fire, one gateway killed per run'
	@echo 'make demo-model         train the demo model anew'
	@echo 'make lock               lock the newest versions that pyproject.toml allows'

install: $(INSTALLED)

$(INSTALLED):
	deploy/install $(VENV)
	@rm -f $(VENV)/.installed-*
	@touch $@

up: install
	$(PY) manage.py up $(UP)

test: install check debian pytest

check: install
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) manage.py makemigrations --check --dry-run
	DJANGO_SETTINGS_MODULE=portal.settings TENANTRY_HTTPS=1 TENANTRY_SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_hex(40))') \
	  $(PY) manage.py check --deploy --fail-level WARNING

pytest: install debian
	$(PY) -m pytest $(TESTS)

# The browser tests drive Debian's Chromium.
debian:
	@command -v chromium >/dev/null || deploy/debian

demo-model: install
	$(PY) -m inference.demo_model.train

bench-gateway: install
	$(PY) -m tests.bench.bench_gateway

bench-propagation: install
	$(PY) -m tests.bench.bench_propagation

soak-gateway: install
	$(PY) -m tests.bench.soak_gateway

lock: install
	deploy/lock/update
