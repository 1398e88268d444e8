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
SOURCES := $(wildcard sigen_utils/*.py sigen_utils/*/*.py sigen_utils/*.mplstyle notebooks/*.ipynb report/*.tex \
	report/*.bib weights/*/*)

.PHONY: all setup test report bench stress studies pretrain test-colab lock clean help FORCE

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
	$(PY) -m sigen_utils ablate vae $(STUDY) --steps 120 --seeds 5 --repeat ours "from random weights" "as reported" \
		--workers $(WORKERS)
	$(PY) -m sigen_utils ablate gan $(STUDY) --steps 150 --seeds 2 --repeat ours --start runs/vae_pretrained --workers $(WORKERS)
	$(PY) -m sigen_utils ablate gan $(STUDY) --steps 1000 --scratch --workers $(WORKERS)
	$(PY) -m sigen_utils converge $(STUDY) --steps 150 --seeds 10 --alone-steps 500 --start runs/vae_pretrained \
		--workers $(WORKERS)
	$(PY) -m sigen_utils study vae $(STUDY) --trials 30
	$(PY) -m sigen_utils study gan $(STUDY) --trials 30

CROWD := five crowds of 12,000 to 20,000 synthetic writers, four or six signatures each
DEVICE ?= 2 CPU cores
# First the pens and lengths of a class, then wider ones, so that thin strokes and whole names are known too; then the
# latents of detail, for which the map is learned best by a network that knows the whole; then with a smaller weight on
# the KL term, which buys sharper strokes; then with twice as much detail, for strokes of one or two pixels; then with a
# tenth of that weight, for a decoder that hears its codes through less noise draws more nearly what they say; and last,
# as long as all before, on pens of every width.
# The weights in the repository made the phases before vae_crisp while moved signatures were not yet made binary again
# and the decoder had no refinement, those before vae_quiet while moved ink had not yet a pen's edges, and the game while
# it was anchored to the VAE and its pictures were not yet rendered; the last took an H200 four and a half minutes.
pretrain: .venv/ready ## weights/ anew, from crowds of synthetic writers: four hours on two cores and minutes of a GPU; goes on after a kill
	test -f build/crowd_usual.npz || $(PY) -m sigen_utils crowd --out build/crowd_usual.npz --set pen=0.3 pen_bias=0 surnames=0
	test -f build/crowd.npz || $(PY) -m sigen_utils crowd --out build/crowd.npz
	test -f build/crowd_thin.npz || $(PY) -m sigen_utils crowd --out build/crowd_thin.npz --seed 2000003 \
		--set pen_bias=-0.25 surnames=0.6
	$(PY) -m sigen_utils train vae --scratch --resume --data build/crowd_usual.npz --run build/pretrain/vae_usual --minutes 28 \
		--set latent_dim=128 detail=0 'widths=[40,80,128,192]' beta=0.5 exemplars=1 learning_rate=0.0015
	$(PY) -m sigen_utils train vae --start build/pretrain/vae_usual --resume --data build/crowd.npz --run build/pretrain/vae_whole \
		--minutes 32 --set beta=0.4 exemplars=1 learning_rate=0.001
	$(PY) -m sigen_utils train gan --start build/pretrain/vae_whole --resume --data build/crowd.npz --run build/pretrain/gan \
		--minutes 20 --set people_by=codes n_people=0 moved=false ema_images=5000 'reals={"elastic":0.0}' watch=false \
		learning_rate_d=0.0004
	$(PY) -m sigen_utils train vae --start build/pretrain/vae_whole --resume --data build/crowd_thin.npz \
		--run build/pretrain/vae_detail --minutes 5 --set latent_dim=640 detail=2 n_people=0 components=1 \
		learning_rate=0.0007
	$(PY) -m sigen_utils train vae --start build/pretrain/vae_detail --resume --data build/crowd_thin.npz --run build/pretrain/vae_map \
		--minutes 30 --set exemplars=1 learning_rate=0.001
	$(PY) -m sigen_utils train vae --start build/pretrain/vae_map --resume --data build/crowd_thin.npz --run build/pretrain/vae_crisp \
		--minutes 4 --set exemplars=1 learning_rate=0.001
	$(PY) -m sigen_utils train vae --start build/pretrain/vae_crisp --resume --data build/crowd_thin.npz --run build/pretrain/vae_sharp \
		--minutes 28 --set beta=0.2 exemplars=1 learning_rate=0.001
	test -f build/crowd_fine.npz || $(PY) -m sigen_utils crowd --out build/crowd_fine.npz --seed 3000003 \
		--set pen_bias=-0.45 pen=0.5 surnames=0.6
	$(PY) -m sigen_utils train vae --start build/pretrain/vae_sharp --resume --data build/crowd_fine.npz \
		--run build/pretrain/vae_fine --minutes 25 --set latent_dim=1152 detail=4 exemplars=1 learning_rate=0.001
	$(PY) -m sigen_utils train vae --start build/pretrain/vae_fine --resume --data build/crowd_fine.npz \
		--run build/pretrain/vae_quiet --minutes 25 --set beta=0.02 exemplars=1 learning_rate=0.001
	test -f build/crowd_mixed.npz || $(PY) -m sigen_utils crowd --out build/crowd_mixed.npz --seed 4000003 --writers 20000 --per-writer 4 \
		--set pen_bias=-0.3 pen=0.55 surnames=0.5
	$(PY) -m sigen_utils train vae --start build/pretrain/vae_quiet --resume --data build/crowd_mixed.npz \
		--run build/pretrain/vae --steps 5253 --set components=1 exemplars=1 learning_rate=0.0015 batch_size=256 ema_images=50000
	$(PY) -m sigen_utils publish-pretrained --vae build/pretrain/vae --before $(addprefix build/pretrain/vae_,usual whole \
		detail map crisp sharp fine quiet) --gan build/pretrain/gan --out weights/pretrained --crowd "$(CROWD)" --device "$(DEVICE)"
	$(PY) -m sigen_utils train ruler --resume --data build/crowd_usual.npz --run build/pretrain/ruler --minutes 9
	$(PY) -m sigen_utils publish-ruler --run build/pretrain/ruler --out weights/ruler \
		--crowd "12,000 synthetic writers, six signatures each" --device "$(DEVICE)"

test-colab: .venv/ready ## the notebooks from outside the checkout, with Colab's versions
	@tools/setup.sh colab
	env -u SIGEN_HOME -u SIGEN_SHEETS SIGEN_COLAB_PYTHON=build/colab/bin/python $(PY) -m pytest tests/test_colab.py

lock: .venv/ready ## write the installed versions to requirements.lock
	@{ echo "# The exact set of the last green run (Linux x86-64, $$($(PY) -V)): make REQUIREMENTS=requirements.lock"; \
	$(PY) -m pip freeze; } >requirements.lock.new && mv requirements.lock.new requirements.lock

clean: ## remove what was made, never a photograph, a correction or a committed file
	@$(or $(wildcard $(PY)),$(or $(PYTHON),python3)) tools/clean.py

help: ## this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || \
		sed -n 's/^\([a-z-]*\):.* ## \(.*\)/make \1: \2/p' Makefile
