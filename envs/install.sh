#!/usr/bin/env bash
# Make the one environment from the complete pins: envs/install.sh cpu|gpu FOLDER
# The folder's `installed` file is written last and names the pins, so that a set-up cut short is redone and never half-used.
# `build` beside it lets a later `make` keep the build that was chosen.
# The command `doubledraft` is this working tree itself, linked and not copied; it is put there anew whenever it is missing.
# Snakemake itself goes in last for the same reason: until all else is there, there is nothing to start.
set -euo pipefail

build=$1 venv=$2
pins=$(dirname "$0")/$build.txt
python=${PYTHON:-python3.11}
case $build in cpu) need_gb=7 ;; gpu) need_gb=25 ;; *) echo "envs/install.sh: '$build' is not cpu or gpu" >&2; exit 2 ;; esac

stop() { printf 'set-up stopped: %s\n' "$@" >&2; exit 1; }
put_command() { # needs no network: the build tools are among the pins
    [ -x "$venv/bin/doubledraft" ] ||
        "$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation --offline --python "$venv/bin/python" \
            --editable "$(dirname "$0")/.." || stop "the command doubledraft could not be made (above is what uv said)"
}

if [ -f "$venv/installed" ] && cmp -s "$venv/installed" "$pins"; then put_command; exit 0; fi

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    stop "'$python' does not run. Install Python 3.11 with venv, or name one: make env PYTHON=/path/to/python3.11"
[ "$version" = 3.11 ] || stop "'$python' is Python $version; the pinned wheels are for 3.11: make env PYTHON=/path/to/python3.11"

# What pip does not bring. A study would miss it only once its target is trained: vLLM needs libnuma, and on a GPU its Triton
# compiles against Python; the timed engine needs a compiler.
absent=() packages=()
miss() { absent+=(", $1"); packages+=("$2"); }
has() { "$python" -c "$1" 2>/dev/null; }
has 'import ensurepip' || miss "the venv module of '$python'" python3.11-venv
[ -n "$(command -v ${CXX:-} c++ g++ clang++)" ] || miss "a C++ compiler" g++
case $build in
    cpu) has 'import ctypes; ctypes.CDLL("libnuma.so.1")' || miss libnuma.so.1 libnuma1 ;;
    gpu) has 'import sysconfig; open(sysconfig.get_path("include", "posix_prefix") + "/Python.h")' || miss Python.h python3.11-dev ;;
esac
[ ${#absent[@]} = 0 ] || stop "$(printf %s "${absent[@]}" | cut -c3-) not found (Debian: apt install ${packages[*]})"

free_gb=$(df -Pk "$(dirname "$venv")" | awk 'NR == 2 {print int($4 / 1048576)}')
[ "$free_gb" -ge "$need_gb" ] || stop "$free_gb GB free for $venv, $need_gb GB needed: free some, or clone to a larger disk"

[ -e "$venv" ] && echo "$venv is unfinished or of other pins: making it anew"
rm -rf "$venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps)
"${pip[@]}" "$(grep '^uv==' "$pins")" ||
    stop "no package index answered (above is what pip said). Check the network, a proxy, or 'pip config list'"

# The CPU wheel of torch is not on PyPI: take it from where this machine's pip looks, else from PyTorch's own index.
torch=$(grep '^torch==' "$pins")
if [ "$build" = cpu ]; then
    "${pip[@]}" "$torch" 2>"$venv/torch.log" ||
        "${pip[@]}" --index-url https://download.pytorch.org/whl/cpu "$torch" 2>>"$venv/torch.log" ||
        { cat "$venv/torch.log" >&2; stop "$torch was found neither by pip's own settings nor on PyTorch's index"; }
fi
# Compiled here, or every first import in the study would do it.
uv=("$venv/bin/uv" pip install --quiet --no-deps --compile-bytecode --python "$venv/bin/python")
if [ "$build" = cpu ]; then skip='^(torch|snakemake)=='; else skip='^snakemake=='; fi
grep -Ev "$skip" "$pins" >"$venv/rest.txt"
"${uv[@]}" --requirement "$venv/rest.txt" || stop "the pins in $pins could not all be had (above is what uv said); the next run starts anew, with what is in uv's cache"
"$venv/bin/python" -c 'import torch, transformers, peft, datasets, sympy, pandas, matplotlib' 2>"$venv/import.log" ||
    { cat "$venv/import.log" >&2; stop "the installed packages do not import together (above)"; }
put_command
"${uv[@]}" "$(grep '^snakemake==' "$pins")"
echo "$build" >"$venv/build"
cp "$pins" "$venv/installed"
