#!/bin/sh
# Set-up, step by step, each one harmless to repeat:
#   setup.sh python    make .venv and install $REQUIREMENTS (default requirements-dev.txt)
#   setup.sh tex       have latexmk and the IEEE class for the report's PDF, where apt and root are there
#   setup.sh browser   have Chromium for the browser test, where apt and root are there
#   setup.sh colab     make build/colab, an environment with the versions that Google Colab preinstalls
# Environment: PYTHON (interpreter to start from), TORCH_INDEX (a package index for torch alone, for
# instance https://download.pytorch.org/whl/cpu, which saves 4 GB where there is no GPU).
set -eu
cd "$(dirname "$0")/.."

say() { printf 'set-up: %s\n' "$*"; }
die() { printf 'set-up: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Whether Debian packages can be installed without asking anybody.
can_apt() { have apt-get && [ "$(id -u)" = 0 ]; }

apt_install() {
    say "installing $* with apt-get"
    mkdir -p build
    if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >build/apt.log 2>&1 </dev/null; then
        return 0
    fi
    say "apt-get failed (build/apt.log has its words):" >&2
    grep -E '^(E|W|Err)' build/apt.log | tail -n 3 >&2 || true
    return 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() { # prints an interpreter of at least 3.11
    for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 python; do
        if have "$name" && new_enough "$name"; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    return 1
}

make_venv() { # $1 = interpreter, $2 = folder
    if "$1" -m venv "$2" >/dev/null 2>&1; then return 0; fi
    rm -rf "$2" # half an environment would be taken for a whole one
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if can_apt && apt_install "python$version-venv" && "$1" -m venv "$2"; then return 0; fi
    rm -rf "$2"
    die "Python $version has no working venv module; on Debian or Ubuntu: apt-get install python$version-venv"
}

# uv installs the same packages several times faster than pip; where it cannot be had, or an index is set up for pip
# only, pip does the work.
install() { # $1 = interpreter, rest = what to install
    python=$1
    shift
    if "$python" -m uv --version >/dev/null 2>&1 || "$python" -m pip install -q uv >/dev/null 2>&1; then
        if "$python" -m uv pip install --quiet --python "$python" "$@"; then return 0; fi
        say "uv could not install this; trying pip"
    fi
    "$python" -m pip install --disable-pip-version-check --no-input -q "$@"
}

setup_python() {
    requirements=${REQUIREMENTS:-requirements-dev.txt}
    if ! [ -x .venv/bin/python ] || ! new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1
    then
        rm -rf .venv
        start=$(find_python) || die "no Python 3.11 or newer found (looked for ${PYTHON:-python3} and python3.11 to" \
            "python3.14); install one, or name it: make PYTHON=/path/to/python3"
        say "making .venv from $("$start" -V)"
        make_venv "$start" .venv
    fi
    say "installing $requirements into .venv (a few GB with torch, minutes on a slow line)"
    if [ -n "${TORCH_INDEX:-}" ]; then
        install .venv/bin/python --index-url "$TORCH_INDEX" torch torchvision
    fi
    install .venv/bin/python -r "$requirements" || die "installing $requirements failed; see the message above"
    .venv/bin/python -c 'import torch, torchvision; print("set-up: torch", torch.__version__,
        "torchvision", torchvision.__version__, "on", "GPU" if torch.cuda.is_available() else "CPU")'
}

setup_tex() {
    packages="latexmk texlive-latex-recommended texlive-publishers texlive-fonts-recommended"
    if have latexmk && have pdflatex && kpsewhich IEEEtran.cls >/dev/null 2>&1; then return 0; fi
    # shellcheck disable=SC2086 # the list is meant to be split
    if can_apt && apt_install $packages; then return 0; fi
    say "no LaTeX, so the report's PDF is left out and all else is made; for the PDF: apt-get install $packages"
}

setup_browser() {
    for name in chromium chromium-browser google-chrome; do
        if have "$name"; then return 0; fi
    done
    if can_apt && apt_install chromium; then return 0; fi
    say "no Chromium, so the browser test is skipped; for it: apt-get install chromium"
}

# Versions of the Colab image that matter here. Its Python is 3.13; where that cannot be had, the machine's own serves.
COLAB_PINS="torch==2.11.0 torchvision==0.26.0 numpy==2.1.3 pillow==11.3.0 matplotlib==3.10.0 ipywidgets==7.7.1
 ipython==7.34.0 ipykernel==6.17.1 jupyter-client==7.4.9 traitlets==5.7.1 tqdm==4.67.1
 opencv-python-headless==4.12.0.88 scikit-learn==1.6.1 safetensors==0.7.0 setuptools==75.2.0 pip==24.1.2"

setup_colab() {
    if [ "$(cat build/colab/pins.txt 2>/dev/null)" = "$COLAB_PINS" ]; then return 0; fi
    rm -rf build/colab
    say "making build/colab with Colab's versions (5 GB with CUDA's libraries; TORCH_INDEX can name a CPU build)"
    find_313() {
        for name in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13; do
            if have "$name" && new_enough "$name"; then printf '%s\n' "$name"; return 0; fi
        done
        .venv/bin/python -m uv python install -q 3.13 2>/dev/null && .venv/bin/python -m uv python find -q 3.13 2>/dev/null
    }
    start=$(find_313) || start=.venv/bin/python
    say "Colab's Python is 3.13; here it is $("$start" -V)"
    make_venv "$start" build/colab
    if [ -n "${TORCH_INDEX:-}" ]; then
        install build/colab/bin/python --index-url "$TORCH_INDEX" torch==2.11.0 torchvision==0.26.0
    fi
    # shellcheck disable=SC2086 # the list is meant to be split
    install build/colab/bin/python $COLAB_PINS || die "Colab's versions could not be installed; see the message above"
    build/colab/bin/python -m pip freeze >build/colab/preinstalled.txt
    printf '%s\n' "$COLAB_PINS" >build/colab/pins.txt
}

case "${1:-}" in
    python | tex | browser | colab) "setup_$1" ;;
    *) die "usage: tools/setup.sh python|tex|browser|colab" ;;
esac
