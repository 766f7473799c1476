"""How fast Hugging Face decodes Qwen3-0.6B's shape on this GPU, with seeded weights."""

import argparse
import pathlib
import time

import record

HERE = pathlib.Path(__file__).resolve().parent
CONTEXT, TOKENS = 1024, 64
BATCHES = [1, 32]


def generate(torch, model, prompts, count):
    """Seconds for `count` more tokens of each prompt."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    since = time.perf_counter()
    model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        min_new_tokens=count,
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
    )
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - since


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    torch, device = record.torch(smoke)
    try:
        import transformers
    except ImportError as error:
        record.skip(f"there is no transformers ({error})")
    name, context, tokens = ("smoke", 8, 2) if smoke else ("qwen3-0.6b", CONTEXT, TOKENS)
    config = transformers.Qwen3Config.from_pretrained(HERE / "models" / name)
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.Qwen3ForCausalLM(config).to(torch.bfloat16).eval()
    for batch in [1] if smoke else BATCHES:
        prompts = torch.randint(0, config.vocab_size, (batch, context), device=device)
        with torch.inference_mode():
            generate(torch, model, prompts, 2)
            # The prompt and the first token cancel out.
            seconds = generate(torch, model, prompts, tokens + 1)
            seconds = (seconds - generate(torch, model, prompts, 1)) / tokens
        values = dict(seconds=seconds, tokens_per_second=batch / seconds)
        record.line(name=f"Hugging Face, decode, batch {batch}, context {context}", **values)


if __name__ == "__main__":
    main()
