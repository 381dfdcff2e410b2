# `make` alone lists what there is.
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

python := .venv/bin/python
# Lives inside .venv, so that removing the one removes the other.
installed := .venv/.installed
# What fills the machine by itself: many daemons, whose networks are broken at known moments.
alone := tests/system/network

.PHONY: help demo test lint format bench soak container dist deb packages schema dashboards lock servers clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(installed) ## watch the daemon judge a simulated provider through an outage, two minutes
	@$(python) -m probe demo

test: $(installed) servers lint ## make the environment, then lint, check types and run all tests
	$(python) -m pytest -n 3 --dist loadfile --ignore $(alone)
	$(python) -m pytest $(alone)

lint: $(installed) ## ruff and mypy --strict
	$(python) -m ruff check --quiet .
	$(python) -m ruff format --quiet --check .
	$(python) -m mypy --no-error-summary

format: $(installed) ## put the sources in order
	$(python) -m ruff check --quiet --fix .
	$(python) -m ruff format .

bench: $(installed) servers ## measure the cost of an attempt and the cadence on one core
	$(python) -m tests.bench.run

soak: $(installed) servers ## the long runs, hours rather than seconds
	$(python) -m pytest -m soak -o faulthandler_exit_on_timeout=false

container: $(installed) ## install, run, break and remove the service in a booted Debian (as root), some minutes
	@sh .ci/servers systemd-nspawn=systemd-container mmdebstrap nsenter=util-linux
	$(python) -m pytest -m container tests/system/container -o faulthandler_timeout=900

dist: $(installed) ## build the wheel and the source distribution into dist/
	@PYTHON=$(python) sh .ci/dist

deb: $(installed) ## build the Debian package, dist/sev1probe_VERSION-1_ARCHITECTURE.deb
	@PYTHON=$(python) sh deploy/debian/build

packages: $(installed) ## install the built packages in every documented way, some minutes
	@sh .ci/servers pipx
	$(python) -m pytest -m packages -o faulthandler_timeout=600 tests/system/packages

schema: $(installed) ## write the JSON schema of the settings under config/
	$(python) -c 'from probe.settings import schema_text; print(schema_text(), end="")' > .make/schema.json
	@mv .make/schema.json config/sev1probe.schema.json

dashboards: $(installed) ## write Grafana's dashboards under grafana/dashboards
	@$(python) -m grafana.build

lock: ## pin the newest allowed libraries, with their hashes, into requirements/
	@sh .ci/lock

servers: ## install the real servers that the system tests talk to (as root), or name the missing
	@sh .ci/servers

clean: ## remove the environment and everything that was made
	rm -rf .venv .make .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(installed): requirements/dev.txt pyproject.toml .ci/environment
	@sh .ci/environment
