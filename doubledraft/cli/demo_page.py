"""The page of `doubledraft demo`: a prompt answered in two lanes, drawn by the viewer's own code for tokens.

Both lanes run in one thread: the one whose own clock is behind takes the next step, so that they stream beside each
other as if each had the machine to itself, and neither's time counts for the other.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from doubledraft import pages
from doubledraft.cli.generate import in_one_line
from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.engine.draft_length import LONGEST_DRAFT
from doubledraft.engine.kv_cache import CacheFull
from doubledraft.engine.proposers import NGram
from doubledraft.engine.sampling import Sampling
from doubledraft.evaluation.decodings import token_text
from doubledraft.inference.load_pair import OptionError, Pair

MOST_CHARACTERS = 4_000  # of a prompt
MOST_TOKENS = 512  # of an answer
MOST_WAITING = 16  # requests in the queue
SHOWN_EVERY = 0.1  # seconds
TITLE = "doubledraft: an answer with and without its draft"
EXAMPLE = "A baker makes 4 trays of 6 rolls and sells 9. How many rolls are left?"
LEGEND = '<div class="dd"><div class="legend"></div></div>'
LANE = '<div class="dd"><h3></h3><p class="facts"></p><div class="tokens"></div></div>'
DRAW = """
function draw() {
  const lane = props.value;
  if (!lane) return;
  element.querySelector("h3").textContent = lane.name;
  element.querySelector(".facts").textContent = lane.facts;
  const cells = cellsOf(lane.ids, lane.steps);
  drawTokens(element.querySelector(".tokens"), cells, (id) => lane.texts[id]).forEach((token, at) => {
    token.title = KINDS[cells[at].kind];
  });
}
watch("value", draw);
draw();
"""


@dataclass(frozen=True, slots=True)
class Demo:
    """The models of the page, and how they are asked."""

    plain: Pair
    drafting: Mapping[str, Pair]  # the same target with each draft, by name
    prompt_file: str | Path | None = None
    few_shot: bool = False

    def warm_up(self) -> None:
        """Answer a few tokens in every way, so that code is compiled before a clock runs."""
        for pair in (self.plain, *self.drafting.values()):
            pair.answer(EXAMPLE, 8, draft_length=4)

    def answer(
        self, prompt: str, draft: str, adaptive: bool, length: int, temperature: float, max_tokens: int
    ) -> Iterator[tuple[dict, dict]]:
        """Answer a prompt in both lanes; yield what they show, several times a second.

        Raise OptionError, CacheFull or ValueError for what the page's own fields would not allow.
        """
        settings = self._settings(prompt, draft, adaptive, length, temperature, max_tokens)
        [ids] = self.plain.token_ids([prompt], self.prompt_file, few_shot=self.few_shot)
        lanes = {
            "target alone": self.plain.stream(ids, max_tokens, sampling=settings["sampling"]),
            f"{draft}, {'adaptive' if adaptive else f'K = {length}'}": self.drafting[draft].stream(
                ids, max_tokens, **settings
            ),
        }
        text_of, last_shown = token_text(self.plain.tokenizer), -SHOWN_EVERY
        for metrics in race(lanes):
            if time.monotonic() - last_shown >= SHOWN_EVERY:
                yield tuple(_lane(name, metrics.get(name), text_of) for name in lanes)
                last_shown = time.monotonic()
        alone, drafted = (_lane(name, metrics[name], text_of) for name in lanes)
        drafted["facts"] += f" · {_compared(*map(metrics.get, lanes), settings['sampling'].greedy)}"
        yield alone, drafted

    def _settings(self, prompt, draft, adaptive, length, temperature, max_tokens) -> dict[str, object]:
        """Check what came over the network; fields of a page can be sent without the page."""
        if len(prompt) > MOST_CHARACTERS:
            raise OptionError(f"the prompt has {len(prompt)} characters: at most {MOST_CHARACTERS}")
        if draft not in self.drafting:
            raise OptionError(f"no draft {draft!r:.40}: choose one of {', '.join(self.drafting)}")
        if adaptive and isinstance(self.drafting[draft].proposer, NGram):
            raise OptionError("adaptive K needs the confidence of a draft model, and n-grams have none")
        if not 1 <= length <= LONGEST_DRAFT or not 1 <= max_tokens <= MOST_TOKENS:
            raise OptionError(f"expected K from 1 to {LONGEST_DRAFT}, and 1 to {MOST_TOKENS} tokens")
        return {"draft_length": "adaptive" if adaptive else int(length), "sampling": Sampling(temperature)}


def race(lanes: Mapping[str, Iterator[Metrics]]) -> Iterator[dict[str, Metrics]]:
    """Run answers step by step, always that which is behind by its own clock; yield the metrics of all so far."""
    running, metrics = dict(lanes), {}
    while running:
        behind = min(running, key=lambda name: metrics[name].seconds if name in metrics else 0.0)
        if (latest := next(running[behind], None)) is None:
            del running[behind]
        else:
            metrics[behind] = latest
            yield metrics


def _compared(alone: Metrics, drafted: Metrics, greedy: bool) -> str:
    """Return how much faster a token was with the draft, and of greedy answers whether they are the same."""
    faster = f"{drafted.tokens_per_second / alone.tokens_per_second:.2f} times as fast"
    if not greedy:
        return faster
    same = alone.answers[0].token_ids == drafted.answers[0].token_ids
    return f"{faster}, {'the same tokens' if same else 'other tokens'}"


def _lane(name: str, metrics: Metrics | None, text_of) -> dict[str, object]:
    """Return what a lane shows, as tokens.js takes it."""
    if metrics is None:
        return {"name": name, "facts": "", "ids": [], "steps": None, "texts": {}}
    [answer] = metrics.answers
    steps = [{"emitted": 1, "proposed": 0, "accepted": 0, "drafted": []}]
    steps += [
        {"emitted": step.emitted, "proposed": len(step.drafted), "accepted": step.accepted, "drafted": step.drafted}
        for step in answer.steps
    ]
    named = {*answer.token_ids, *(token for step in answer.steps for token in step.drafted)}
    texts = {str(token): text_of(token) for token in named}
    return {"name": name, "facts": in_one_line(metrics), "ids": answer.token_ids, "steps": steps, "texts": texts}


def build(demo: Demo):
    """Return the page as Gradio's Blocks, with one queue and one answer at a time."""
    import gradio

    def answered(*fields: object) -> Iterator[tuple[dict, dict]]:
        try:
            yield from demo.answer(*fields)
        except (OptionError, CacheFull, ValueError) as refusal:
            raise gradio.Error(str(refusal), print_exception=False) from None

    tokens_js = (pages.TEMPLATES / "tokens.js").read_text(encoding="utf-8")
    with gradio.Blocks(title=TITLE, analytics_enabled=False) as page:
        gradio.Markdown(f"# {TITLE}")
        prompt = gradio.Textbox(EXAMPLE, label="prompt", lines=2, max_length=MOST_CHARACTERS, elem_id="prompt")
        with gradio.Row():
            drafts = list(demo.drafting)
            draft = gradio.Dropdown(drafts, value=drafts[0], label="draft", elem_id="draft")
            length = gradio.Slider(1, LONGEST_DRAFT, 4, step=1, label="K", info="tokens drafted per step")
            adaptive = gradio.Checkbox(False, label="adaptive K")
            temperature = gradio.Slider(0, 2, 0, step=0.1, label="temperature", info="0: greedy")
            tokens = gradio.Slider(16, MOST_TOKENS, 128, step=16, label="length", info="tokens at most")
        answer = gradio.Button("answer", variant="primary", elem_id="answer")
        gradio.HTML(html_template=LEGEND, js_on_load=tokens_js + 'drawLegend(element.querySelector(".legend"));')
        with gradio.Row():
            draw = {"html_template": LANE, "js_on_load": tokens_js + DRAW}
            lanes = [gradio.HTML(elem_id=name, **draw) for name in ("alone", "drafted")]
        fields = [prompt, draft, adaptive, length, temperature, tokens]
        answer.click(answered, fields, lanes, api_visibility="private")
    return page.queue(max_size=MOST_WAITING, default_concurrency_limit=1, api_open=False)


def serve(demo: Demo, host: str, port: int, *, block: bool = True):
    """Serve the page until interrupted; return Gradio's Blocks where `block` is false."""
    import gradio

    page = build(demo)
    system = ["system-ui", "sans-serif"]  # fonts of the reader: none is fetched
    theme = gradio.themes.Base(font=system, font_mono=["ui-monospace", "monospace"])
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=not block,
        max_file_size=1,  # byte: nothing is uploaded
        footer_links=[],
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=theme,
        css=(pages.TEMPLATES / "tokens.css").read_text(encoding="utf-8"),
    )
    return page
