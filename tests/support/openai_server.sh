#!/bin/bash
# Sets up a real OpenAI-compatible server (transformers serve, CPU) with a tiny model of random weights for the tests,
# once per machine: 1.2 GB and about two minutes; afterwards a no-op.
#
# It lands in ${MUSTER_CACHE_DIR:-${XDG_CACHE_HOME:-~/.cache}/muster}/transformers-serve-5.24; `run.sh PORT` in there
# starts it, `model` in there is the model, named by that folder. It is made under another name and moved into place
# whole, and run.sh is written last: where run.sh is, the rest is. What can't be had here (the CPU build of torch) ends
# this with status 1, and the tests that want the real server skip and say so.
set -euo pipefail

target=${MUSTER_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}/transformers-serve-5.24
[ -x "$target/run.sh" ] && exit 0

python=${PYTHON:-python3.11}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || {
    echo "openai_server.sh: needs Python 3.11, and '$python' is not one (PYTHON names another)" >&2
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
    echo "openai_server.sh: torch 2.13.0 can't be installed here" >&2
    exit 1
}
./venv/bin/python -W ignore -c 'import torch, sys; sys.exit(torch.version.cuda is not None)' || {
    echo "openai_server.sh: this torch is not the CPU build, which is too large for a test" >&2
    exit 1
}
pip install -c constraints.txt 'transformers[serving]==5.24.*' || {
    echo "openai_server.sh: transformers 5.24 with its server can't be installed here" >&2
    exit 1
}

./venv/bin/python -W ignore - <<'PY'
"""Save a Llama of two layers whose words are single bytes; it talks nonsense, and stops only at its limit."""
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIAL.values()]
numbers = {word: number for number, word in enumerate(words)}

tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=[], unk_token=SPECIAL["unk_token"]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
wrapped.chat_template = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
wrapped.save_pretrained("model")

torch.manual_seed(0)
ids = {f"{name}_id": numbers[word] for name, word in SPECIAL.items() if name != "unk_token"}
shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
config = LlamaConfig(vocab_size=len(words), num_key_value_heads=2, max_position_embeddings=2048, **shape, **ids)
LlamaForCausalLM(config).save_pretrained("model")
PY
mkdir hub
rm -f constraints.txt

# venv/bin/transformers names the Python of the folder it was made in, which has moved: it is told another
cat >run.sh.new <<'RUN'
#!/bin/bash
# run.sh PORT [options of `transformers serve`]
here=$(cd "$(dirname "$0")" && pwd); port=$1; shift
HF_HUB_OFFLINE=1 HF_HUB_CACHE=$here/hub HF_HUB_DISABLE_TELEMETRY=1 exec "$here/venv/bin/python" -W ignore \
    "$here/venv/bin/transformers" serve --host 127.0.0.1 --port "$port" --device cpu "$@"
RUN
chmod +x run.sh.new
mv run.sh.new run.sh
chmod 755 .
mv -T "$work" "$target" 2>/dev/null || [ -x "$target/run.sh" ] # another run of this script was faster
