"""A pair of models as transformers decodes them: greedy, one prompt at a time, with assisted generation.

This is what our engine is compared with, in speed and token by token. Generation settings of the models, such as a
penalty for repetition, are replaced: every engine decodes plainly.
"""

from collections.abc import Collection, Sequence
from pathlib import Path


class HuggingFacePair:
    """A target and a draft in transformers."""

    def __init__(
        self, target: str | Path, draft: str | Path, *, dtype: str, device: str, stop_ids: Collection[int]
    ) -> None:
        """Load both models; `stop_ids` end an answer."""
        import torch
        import transformers
        from transformers import AutoModelForCausalLM, GenerationConfig

        self.name = f"transformers {transformers.__version__}"
        self._target, self._draft = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
            for folder in (target, draft)
        )
        pad = min(stop_ids, default=0)  # never read: there is one prompt at a time
        self._target.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=sorted(stop_ids) or None, pad_token_id=pad
        )
        self._draft.generation_config = GenerationConfig(
            do_sample=False,
            num_assistant_tokens_schedule="constant",
            assistant_confidence_threshold=0.0,  # else a draft ends where the draft model is unsure
            pad_token_id=pad,
        )

    def generate(self, prompt: Sequence[int], max_tokens: int, draft_length: int = 0, streamer=None) -> list[int]:
        """Return the answer, by the target alone or over drafts of `draft_length` tokens.

        `streamer.put` gets the prompt, then the tokens of each pass of the target.
        """
        import torch

        assistance = {}
        if draft_length:
            self._draft.generation_config.num_assistant_tokens = draft_length
            assistance["assistant_model"] = self._draft
        ids = torch.tensor([prompt], device=self._target.device)
        output = self._target.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, streamer=streamer, **assistance
        )
        return output[0, len(prompt) :].tolist()

    def best_two(self, text: Sequence[int]) -> list[tuple[int, float]]:
        """Return the target's two best next tokens with their log-probabilities, up to one constant."""
        import torch

        with torch.inference_mode():
            logits = self._target(torch.tensor([text], device=self._target.device)).logits[0, -1]
        best = logits.float().topk(2)
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
