# The Annotated Anomaly. `make` lists what there is.

PYTHON ?= python3
VENV ?= .venv
TIER ?= quick
NAME ?=
MINUTES ?= 60
ARGS ?=
MODEL ?=
FOLDER ?=
OUTPUT ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help env book test lab notebook score record fidelity student sync lint clean

help:  ## list these targets
	@echo "New here? Try  make lab , or  make notebook NAME=comparing-autoencoders . The first call installs about 6.5 GB."
	@sed -n 's/^\([a-z]*\):.*## /\1 /p' $(MAKEFILE_LIST) | awk '{ printf "make %-10s", $$1; $$1 = ""; print }'
	@echo "Variables: TIER=smoke|quick|paper  PYTHON=python3.12  NAME=<notebook>  MINUTES=60  ARGS=<options of papermill,"
	@echo "           pytest or tools/record.py>  MODEL FOLDER OUTPUT=<of make score>  OUTPUT=<of make student>"

env: $(STAMP)  ## make the virtual environment .venv (done by the others as needed)

book: $(STAMP)  ## execute the notebooks (TIER=quick) and build the site; prints the path of index.html
	@$(BIN)/python tools/book.py --tier $(TIER)

test: $(STAMP)  ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks

notebook: $(STAMP)  ## run one notebook with papermill: NAME=comparing-autoencoders ARGS="-p normal_class 3"
	@$(BIN)/python tools/notebook.py "$(NAME)" -p tier $(TIER) $(ARGS)

score: $(STAMP)  ## score new pictures with a saved detector: MODEL=detector.pt FOLDER=/new/pictures
	@$(BIN)/python tools/score.py "$(MODEL)" "$(FOLDER)" $(if $(OUTPUT),--output "$(OUTPUT)")

record: $(STAMP)  ## run what the recorded tables lack, most valuable first: MINUTES=120 NAME=<notebook>
	@$(BIN)/python tools/record.py --minutes $(MINUTES) $(if $(NAME),--name $(NAME)) $(ARGS)

fidelity: $(STAMP)  ## say how close the records are to the papers, a line a printed table
	@$(BIN)/python tools/fidelity.py $(if $(NAME),--name $(NAME))

student: $(STAMP)  ## write the notebooks of a course, with holes for the answers: OUTPUT=_build/student
	@$(BIN)/python tools/student.py write $(if $(OUTPUT),--output "$(OUTPUT)")

sync: $(STAMP)  ## write notebooks/*.ipynb from their texts in notebooks/text
	@$(BIN)/python tools/pairs.py sync

lint: $(STAMP)  ## check the style of all code, and the spelling of all text
	$(BIN)/ruff check .
	$(BIN)/codespell

clean:  ## remove what was built; .venv and downloaded data stay
	rm -rf _build *.egg-info .pytest_cache .ruff_cache .hypothesis

$(STAMP): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "make: $(PYTHON) is not Python 3.11, 3.12 or 3.13; name one that is: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt -c constraints.txt -e .
	@touch $@
