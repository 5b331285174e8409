# Everything that a user types. Each target sets itself up; `make` alone lists them.

PYTHON ?= python3
VENV   := .venv
READY  := $(VENV)/ready
TOOL   := $(VENV)/bin/tokamac

# Variables given on the command line reach the recipes through the environment, so that a prompt
# may hold any character.
export MODEL PROMPT TOKENS CONFIG FORMAT QUANTISER ACTIVATIONS KV BLOCK SIM WAVES SEED TESTCASE BENCH BOARD CLOCK BITSTREAM

# $(call option,--flag,NAME) is --flag "$NAME" if NAME is given.
option = $(if $($(2)),$(1) "$$$(2)")
# $(call flag,--flag,NAME) is --flag if NAME is given, and not 0.
flag = $(if $(filter-out 0,$($(2))),$(1))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup doctor run test nightly lint verilog area netlist sim timing bitstream flash boards bench clean


help: ## list the targets
	@echo "make TARGET [VARIABLE=value ...]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(READY) ## install what is missing, into .venv
	@echo "Set up in $(VENV)."

$(READY): pyproject.toml Makefile
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: apt-get install python3"; exit 1; }
	@$(PYTHON) sw/doctor.py --fix
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -e '.[test,area,formal]'
	@touch $@

doctor: ## check the programs and libraries of this machine
	@$(PYTHON) sw/doctor.py

run: $(READY) ## write a story on the simulated machine: MODEL= PROMPT= TOKENS= CONFIG= FORMAT= QUANTISER= ACTIVATIONS= KV=
	@$(TOOL) run $(if $(MODEL),"$$MODEL") $(call option,--prompt,PROMPT) \
	    $(call option,--tokens,TOKENS) $(call option,--config,CONFIG) $(call option,--format,FORMAT) \
	    $(call option,--quantiser,QUANTISER) $(call option,--activations,ACTIVATIONS) $(call option,--kv,KV)

test: $(READY) ## run all tests: ARGS= goes to pytest
	@$(VENV)/bin/python -m pytest -n 2 --dist worksteal $(ARGS)

nightly: $(READY) ## run the tests that take long: thousands of random programs, others each day
	@$(VENV)/bin/python -m pytest -n 2 --dist worksteal -m nightly $(ARGS)

lint: $(READY) ## check the Python sources
	@$(VENV)/bin/ruff check

verilog: $(READY) ## write the core as Verilog: CONFIG=
	@$(TOOL) verilog $(if $(CONFIG),"$$CONFIG")

area: $(READY) ## count the ECP5 cells of the machine: CONFIG=
	@$(TOOL) area $(call option,--config,CONFIG)

netlist: $(READY) ## run a model on the netlist that synthesis makes for an ECP5: MODEL= PROMPT= TOKENS= CONFIG= FORMAT=
	@$(TOOL) netlist $(if $(MODEL),"$$MODEL") $(call option,--config,CONFIG) \
	    $(call option,--prompt,PROMPT) $(call option,--tokens,TOKENS) $(call option,--format,FORMAT)

sim: $(READY) ## run a block's bench, or list the blocks: BLOCK= CONFIG= SIM=icarus WAVES=1 SEED= TESTCASE=
	@$(TOOL) sim $(if $(BLOCK),"$$BLOCK") $(call option,--simulator,SIM) $(call option,--config,CONFIG) \
	    $(call flag,--waves,WAVES) $(call option,--seed,SEED) $(call option,--testcase,TESTCASE)

timing: $(READY) $(VENV)/ready-fpga ## clock rate and size of a block on an ECP5, or list the blocks: BLOCK= CONFIG= SEED=
	@$(TOOL) timing $(if $(BLOCK),"$$BLOCK") $(call option,--config,CONFIG) $(call option,--seed,SEED)

bitstream: $(READY) $(VENV)/ready-fpga ## synthesise, place and route for a board: BOARD= CONFIG= CHECK=1 CLOCK= SEED=
	@$(TOOL) bitstream $(call option,--board,BOARD) $(call option,--config,CONFIG) \
	    $(call flag,--check,CHECK) $(call option,--clock,CLOCK) $(call option,--seed,SEED)

flash: $(READY) $(VENV)/ready-fpga ## load a bitstream into a board: BOARD= BITSTREAM= CONFIG= CHECK=1 PERMANENT=1
	@$(TOOL) flash $(call option,--board,BOARD) $(call option,--bitstream,BITSTREAM) \
	    $(call option,--config,CONFIG) $(call flag,--check,CHECK) $(call flag,--permanent,PERMANENT)

boards: $(READY) ## list the boards, and what fits them: CONFIG=
	@$(TOOL) boards $(call option,--config,CONFIG)

$(VENV)/ready-fpga: $(READY)
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -e '.[fpga]'
	@touch $@

bench: $(READY) ## measure, beside each limit: BENCH= CONFIG=
	@$(TOOL) bench $(if $(BENCH),"$$BENCH") $(call option,--config,CONFIG)

clean: ## remove what was built; .venv stays
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
