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
RESULTS := $(or $(SIGEN_HOME),$(if $(filter smoke,$(SIGEN_PROFILE)),.smoke,own))
SHEETS := $(or $(SIGEN_SHEETS),$(ROOT)/data/sheets)
KEY := $(shell printf '%s|%s|%s' $(call quote,$(SIGEN_PROFILE)) $(call quote,$(SIGEN_SHEETS)) \
	$(call quote,$(SIGEN_HOME)) | cksum | cut -d' ' -f1)
RUN := build/run-$(KEY).stamp
STALE := $(shell test -f $(call quote,$(RESULTS)/report/generated/results.json) || echo results; \
	find $(call quote,$(SHEETS)) -newer $(RUN) 2>/dev/null | head -n 1)
SOURCES := $(wildcard sigen_utils/*.py sigen_utils/*/*.py sigen_utils/*/*.mplstyle sigen_utils/*/*.j2 notebooks/*.ipynb \
	report/*.j2 report/*.bib weights/*/*)

.PHONY: all results setup test test-long audit report bench stress studies prior extractor page test-colab lock clean help FORCE

all: $(RUN) ## everything: set-up, data, models, comparison; figures and report go to own/, beside the committed ones

results: $(RUN) ## put the results of `make` in the place of the committed ones, if every model of ours has converged
	$(PY) -m sigen_utils regenerate

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

report: .venv/ready ## README's table, docs/results.md and the PDF anew from the committed numbers
	@tools/setup.sh tex
	SIGEN_HOME="$(CURDIR)" $(PY) -m sigen_utils report

bench: .venv/ready ## speed beside the plain way and public alternatives, in one process; docs/speed.md
	$(PY) benchmarks/run.py

stress: .venv/ready ## the extraction on harder and harder synthetic sheets; a heat map in build/stress
	$(PY) -m sigen_utils stress --out build/stress

# Studies: the same training with one thing changed, three seeds each, scored on another synthetic class
UNSEEN := data/.signatures_unseen
STUDY := --data data/signatures --unseen $(UNSEEN) --seeds 3 --record
studies: $(RUN) ## the five studies anew, hours on two cores, kept in results.json; finished trainings are loaded
	$(PY) -m sigen_utils ablate reports $(STUDY) --images 16000 --out build/studies/reports
	$(PY) -m sigen_utils ablate repair $(STUDY) --images 8000 --out build/studies/repair \
		$(if $(wildcard $(WRITERS)),--corpus $(WRITERS))
	$(PY) -m sigen_utils ablate gan $(STUDY) --images 4800 --out build/studies/gan --start runs/vae
	$(PY) -m sigen_utils ablate beta $(STUDY) --images 16000 --out build/studies/beta
	test ! -f $(WRITERS) || $(PY) -m sigen_utils ablate writers $(STUDY) --images 64000 --out build/studies/writers \
		--corpus $(WRITERS) --start build/prior/decoder

# The weights in the repository: card.json beside them says on what, how long and where they were trained
WRITERS := build/writers.npz
DEVICE ?= 2 CPU cores
CROWD := --device "$(DEVICE)" --crowd "24,000 synthetic writers, four signatures each"
prior: .venv/ready ## weights/prior and weights/gan_alone anew, from 24,000 synthetic writers: hours; continues after a kill
	test -f $(WRITERS) || $(PY) -m sigen_utils corpus --out $(WRITERS)
	$(PY) -m sigen_utils train corpus_vae --resume --data $(WRITERS) --run build/prior/vae
	$(PY) -m sigen_utils train corpus_decoder --resume --data $(WRITERS) --start build/prior/vae --run build/prior/decoder
	$(PY) -m sigen_utils train corpus_prior --resume --data $(WRITERS) --start build/prior/decoder --run build/prior/flow
	$(PY) -m sigen_utils publish --run build/prior/flow --out weights/prior $(CROWD)
	$(PY) -m sigen_utils train corpus_gan_alone --resume --data $(WRITERS) --run build/prior/gan_alone
	$(PY) -m sigen_utils publish --run build/prior/gan_alone --out weights/gan_alone $(CROWD)

extractor: .venv/ready ## weights/extractor anew, from 20,000 synthetic writers: hours on two cores; continues after a kill
	test -f build/crowd.npz || $(PY) -m sigen_utils crowd --out build/crowd.npz --seed 7000003 --writers 20000 \
		--per-writer 4 --set pen_bias=-0.3 pen=0.55 surnames=0.5
	$(PY) -m sigen_utils train extractor --resume --data build/crowd.npz --run build/extractor
	$(PY) -m sigen_utils publish --run build/extractor --out weights/extractor --device "$(DEVICE)" \
		--crowd "20,000 synthetic writers, four signatures each"

page: .venv/ready ## a static page that signs in the browser, in build/page; npm brings onnxruntime-web once
	$(PY) -m sigen_utils page --out build/page

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
