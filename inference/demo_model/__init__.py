"""The demo model: a tiny Llama and two LoRA adapters, each with a sentence of its own."""
