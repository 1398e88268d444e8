# sigen. `make` builds everything from nothing, `make test` checks everything, `make help` lists the rest.
#
# Environment: SIGEN_PROFILE (smoke, cpu, gpu), SIGEN_SHEETS (another folder of photographs), SIGEN_HOME (another root
# for everything written), PYTHON (interpreter to start from), TORCH_INDEX (package index for torch alone),
# REQUIREMENTS (for instance requirements.lock, for the exact set of versions).

PY := .venv/bin/python
export SIGEN_PROFILE SIGEN_SHEETS SIGEN_HOME PYTHON TORCH_INDEX REQUIREMENTS

# A stamp holds for one choice of profile, sheets and root, so its name carries them. A run is also out of date when a
# photograph came, changed or went, or when its results are gone: the shell answers that, because the names of
# photographs may hold spaces, which make's own rules cannot.
quote = '$(subst ','\'',$(1))'
ROOT := $(or $(SIGEN_HOME),$(if $(filter smoke,$(SIGEN_PROFILE)),.smoke,.))
SHEETS := $(or $(SIGEN_SHEETS),$(ROOT)/data/sheets)
KEY := $(shell printf '%s|%s|%s' $(call quote,$(SIGEN_PROFILE)) $(call quote,$(SIGEN_SHEETS)) \
	$(call quote,$(SIGEN_HOME)) | cksum | cut -d' ' -f1)
RUN := build/run-$(KEY).stamp
STALE := $(shell test -f $(call quote,$(ROOT)/report/generated/results.json) || echo results; \
	find $(call quote,$(SHEETS)) -newer $(RUN) 2>/dev/null | head -n 1)
SOURCES := $(wildcard sigen_utils/*.py sigen_utils/*/*.py sigen_utils/*/*.mplstyle notebooks/*.ipynb report/*.tex \
	report/*.bib weights/*/*)

.PHONY: all setup test test-long audit report bench stress studies pretrain prior test-colab lock clean help FORCE

all: $(RUN) ## everything: set-up, data, models, comparison, figures, report

$(RUN): .venv/ready $(SOURCES) $(if $(STALE),FORCE)
	@tools/setup.sh tex
	$(PY) -m sigen_utils all
	@mkdir -p build && touch $@

setup: .venv/ready ## only the Python environment in .venv

.venv/ready: requirements.txt requirements-dev.txt tools/setup.sh $(REQUIREMENTS)
	@tools/setup.sh python
	@touch $@

test: .venv/ready ## every check: ruff, the tests, the six notebooks in the smoke profile
	@tools/setup.sh browser
	@rm -rf .smoke
	@status=0; $(PY) -m ruff check . || status=1; \
	env -u SIGEN_HOME -u SIGEN_SHEETS SIGEN_PROFILE=smoke $(PY) -m pytest tests notebooks \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=600 --nbval-kernel-startup-timeout=300 \
		|| status=1; exit $$status

test-long: .venv/ready ## a hundred kills of all that takes long, large pictures, generated broken files; prints counts
	$(PY) -m pytest -m long -s tests
	$(PY) tools/fuzz.py --n 10000

report: .venv/ready ## the numbers, tables and PDF anew from report/generated/results.json
	@tools/setup.sh tex
	$(PY) -m sigen_utils report

bench: .venv/ready ## speed beside the plain way of doing it, in one run
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(PY) "$$script"; done

stress: .venv/ready ## the extraction on harder and harder synthetic sheets; a heat map in build/stress
	$(PY) -m sigen_utils stress --out build/stress

# How many trainings at a time: one on two cores; a GPU has room for several
WORKERS ?= 1
STUDY := --data data/signatures --out build/studies --record
studies: $(RUN) ## ablations, seeds and searches anew, a few hours on two cores, kept in results.json; goes on after a kill
	$(PY) -m sigen_utils ablate vae $(STUDY) --images 3840 --seeds 5 --repeat ours "from random weights" "as reported" \
		--workers $(WORKERS)
	$(PY) -m sigen_utils ablate gan $(STUDY) --images 2400 --seeds 2 --repeat ours --start runs/vae_pretrained --workers $(WORKERS)
	$(PY) -m sigen_utils ablate gan $(STUDY) --images 16000 --scratch --workers $(WORKERS)
	$(PY) -m sigen_utils converge $(STUDY) --images 2400 --seeds 10 --alone-images 9600 --start runs/vae_pretrained \
		--workers $(WORKERS)
	$(PY) -m sigen_utils study vae $(STUDY) --trials 30
	$(PY) -m sigen_utils study gan $(STUDY) --trials 30

# The pretraining corpus. The weights in the repository were made by earlier recipes than these; card.json beside them
# says on what, how long and where
CORPUS := 20,000 synthetic writers, four signatures each
DEVICE ?= 2 CPU cores
pretrain: .venv/ready ## weights/ anew, from a corpus of synthetic writers: hours on two cores, minutes on a GPU; goes on after a kill
	test -f build/corpus.npz || $(PY) -m sigen_utils crowd --out build/corpus.npz --seed 4000003 --writers 20000 --per-writer 4 \
		--set pen_bias=-0.3 pen=0.55 surnames=0.5
	$(PY) -m sigen_utils train vae --recipe corpus --resume --data build/corpus.npz --run build/pretrain/vae
	$(PY) -m sigen_utils train gan --recipe corpus --resume --data build/corpus.npz --run build/pretrain/gan --start build/pretrain/vae
	$(PY) -m sigen_utils publish-pretrained --vae build/pretrain/vae --gan build/pretrain/gan --out weights/pretrained \
		--crowd "$(CORPUS)" --device "$(DEVICE)"
	$(PY) -m sigen_utils train extractor --resume --data build/corpus.npz --run build/pretrain/extractor
	$(PY) -m sigen_utils publish-extractor --run build/pretrain/extractor --out weights/extractor --crowd "$(CORPUS)" --device "$(DEVICE)"

WRITERS := build/writers.npz
prior: .venv/ready ## weights/prior anew, from 24,000 other synthetic writers: two hours on two cores; goes on after a kill
	test -f $(WRITERS) || $(PY) -m sigen_utils corpus --out $(WRITERS)
	$(PY) -m sigen_utils train autoencoder --resume --data $(WRITERS) --run build/pretrain/autoencoder
	$(PY) -m sigen_utils train prior --resume --data $(WRITERS) --start build/pretrain/autoencoder --run build/pretrain/prior
	$(PY) -m sigen_utils publish-prior --run build/pretrain/prior --out weights/prior --device "$(DEVICE)" \
		--crowd "24,000 synthetic writers, four signatures each"

test-colab: .venv/ready ## the notebooks from outside the checkout, with Colab's versions
	@tools/setup.sh colab
	env -u SIGEN_HOME -u SIGEN_SHEETS SIGEN_COLAB_PYTHON=build/colab/bin/python $(PY) -m pytest tests/test_colab.py

lock: .venv/ready ## write the installed versions, with the hashes of their files, to requirements.lock
	@mkdir -p build && $(PY) -m pip freeze >build/freeze.txt
	@{ echo "# The exact set of the last green run (Linux x86-64, $$($(PY) -V)): make REQUIREMENTS=requirements.lock"; \
	$(PY) -m uv pip compile --quiet --no-deps --generate-hashes --no-header --no-annotate build/freeze.txt; \
	} >requirements.lock.new && mv requirements.lock.new requirements.lock

audit: .venv/ready ## known weaknesses of the versions in requirements.lock, asked of a public list (needs the network)
	@$(PY) -m uv tool run --quiet pip-audit --version >/dev/null 2>&1 || \
		{ echo "audit: pip-audit cannot be had; it needs the network and $(PY) -m pip install uv" >&2; exit 1; }
	$(PY) -m uv tool run --quiet pip-audit --strict --disable-pip --require-hashes -r requirements.lock

clean: ## remove what was made, never a photograph, a correction or a committed file
	@$(or $(wildcard $(PY)),$(or $(PYTHON),python3)) tools/clean.py

help: ## this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || \
		sed -n 's/^\([a-z-]*\):.* ## \(.*\)/make \1: \2/p' Makefile
