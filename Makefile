# Everything works without root, without Docker and without any server already running.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check install
LOCK   := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# Tests often wait: three at a time keep two cores busy.
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist worksteal
# Each process of a test would compile what it imports again.
unexport PYTHONDONTWRITEBYTECODE

MESSAGES := artefacts/relay.pot
CONSOLE  := artefacts/console.pot
PYBABEL  := $(BIN)/pybabel --quiet

MINUTES := 10
PROOF   := $(addprefix tests/,journeys/test_kill.py journeys/test_crash_points.py journeys/test_io_errors.py \
  journeys/test_upgrade.py journeys/test_storage_faults.py outbox/test_state_machine.py journeys/test_postgres.py \
  cli/test_deliveries.py cli/test_chats.py cli/test_resend.py cli/test_replay.py cli/test_resume.py web/test_health.py web/test_hook.py \
  journeys/test_reload.py journeys/test_reload_of_what_waits.py journeys/test_samples.py journeys/test_pause.py journeys/test_mutes.py transports/test_slack_journey.py outbox/test_retention.py \
  console/test_openapi.py)

.PHONY: run serve test test-all proof lint types docs messages reference golden pictures image-test lock frontend build clean help

help:              ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(VENV)/.run: requirements.lock requirements-build.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The relay needs Python 3.11 or newer; make PYTHON=python3.12 run names another one.")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements.lock --requirement requirements-build.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(PIP) --require-hashes --requirement requirements-dev.lock
	touch $@

run: $(VENV)/.run  ## start the demo: sample chats, and what mail, Slack and Teams get of them
	$(BIN)/relay demo

serve: $(VENV)/.run ## start the relay with your own settings
	$(BIN)/relay serve

test: $(VENV)/.dev ## run the tests that show in a few minutes whether it works here
	$(PYTEST) -m "not long" --durations 10

test-all: test     ## run all tests; the long ones take a quarter of an hour
	$(PYTEST) -m long

proof: $(VENV)/.dev ## the long form of the tests in docs/reliability.md: kills, crash points, I/O errors, random walks, a soak
	$(PYTEST) --proof $(PROOF)
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --per-second 10

lint: $(VENV)/.dev ## ruff: lint and format check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

docs: $(VENV)/.dev ## build the documentation into site/, broken links are errors
	$(BIN)/mkdocs build --strict --quiet

messages: $(VENV)/.dev ## bring the translation files up to date; LANGUAGE=fr begins a new one (docs/languages.md)
	mkdir -p $(dir $(MESSAGES))
	$(PYBABEL) extract --mapping pyproject.toml --ignore-dirs ".* __pycache__ tests docs benchmarks artefacts console frontend" \
	  --project "Smartsupp relay" --version 1 --add-location file --sort-by-file --no-wrap --output $(MESSAGES) .
	$(if $(LANGUAGE),$(PYBABEL) init --input-file $(MESSAGES) --locale $(subst -,_,$(LANGUAGE)) \
	  --output-file relay/translations/$(LANGUAGE).po --no-wrap)
	for catalogue in relay/translations/*.po; do \
	  $(PYBABEL) update --input-file $(MESSAGES) --locale $$(basename $$catalogue .po | tr - _) --output-file $$catalogue \
	    --no-wrap --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date || exit 1; done
	$(PYBABEL) extract --mapping relay/console/translations/babel.toml --ignore-dirs ".* __pycache__" \
	  --project "Smartsupp relay" --version 1 --add-location file --sort-by-file --no-wrap --output $(CONSOLE) relay/console relay/rules
	for catalogue in relay/console/translations/*.po; do \
	  $(PYBABEL) update --input-file $(CONSOLE) --locale $$(basename $$catalogue .po | tr - _) --output-file $$catalogue \
	    --no-wrap --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date || exit 1; done

reference: $(VENV)/.dev ## write the tables of docs/ again, after a change of names, filters or answers
	$(BIN)/python -m tests.reference

golden: $(VENV)/.dev ## write the golden files again, after a change of words or of a packer; then read the diff
	$(BIN)/python -m tests.templates.golden

pictures: $(VENV)/.dev ## take pictures of mails and posts into artefacts/pictures/ (needs Chromium)
	$(BIN)/python -m tests.pictures

image-test: $(VENV)/.dev ## build the Docker image, start and check it (as root, with Debian's buildah and debootstrap)
	$(BIN)/python -m tests.image

build: $(VENV)/.dev ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

lock:              ## renew the lock files (needs uv)
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) --group build --constraint requirements.lock --output-file requirements-build.lock
	$(LOCK) --group dev --constraint requirements.lock --constraint requirements-build.lock --output-file requirements-dev.lock

frontend:          ## renew what the console's pages take from npm packages (needs npm)
	cd frontend && npm ci --silent
	cp frontend/node_modules/htmx.org/dist/htmx.min.js relay/console/static/htmx.js
	cp frontend/node_modules/htmx.org/LICENSE relay/console/static/htmx.LICENSE
	cd frontend && node_modules/.bin/esbuild editor.js --bundle --minify --format=iife --target=es2022 --legal-comments=none \
	  --log-level=warning --outfile=../relay/console/static/editor.js
	cd frontend/node_modules && export LC_ALL=C && for package in @codemirror/* @lezer/* @marijn/* crelt style-mod w3c-keyname; do \
	  printf '%s\n\n' "$$package" && cat $$package/LICENSE && printf '\n'; done > ../../relay/console/static/editor.LICENSE

clean:             ## remove what the other targets made
	rm -rf $(VENV) dist site .mypy_cache .ruff_cache .pytest_cache
