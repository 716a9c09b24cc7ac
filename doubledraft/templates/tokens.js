// Draws tokens and how each came to be; used by the viewer and by the demo. Text of models only ever becomes text nodes.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u; // print nothing, or move what is printed
const KINDS = {
  plain: "by the target, nothing drafted here",
  accepted: "drafted, and accepted",
  bonus: "by the target, after a draft that was accepted whole",
  choice: "by the target, in place of a rejected token",
};

/** Return an element with a class and text. */
function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Append text to an element; characters that print nothing are written as their code points. */
function appendVisible(element, text) {
  let run = "";
  const flush = () => { if (run) element.append(run); run = ""; };
  for (const character of text) {
    if (character === "\n") { flush(); element.append(make("span", "break", "↵")); }
    else if (HIDDEN.test(character)) {
      flush();
      const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      element.append(make("span", "hidden-character", "U+" + code));
    } else run += character;
  }
  flush();
  if (!text) element.append(make("span", "hidden-character", "no text"));
}

/**
 * Return what became of each token of a lane: {id, kind, step, place, struck, unknown}.
 *
 * A step is {emitted, proposed, accepted, drafted}; `struck` are the drafted ids that were not kept, `unknown` is the
 * number of those whose ids the engine does not report. `place` is the token's place in its draft, from 0.
 */
function cellsOf(ids, steps) {
  if (!steps) return ids.map((id) => ({ id, kind: "plain", step: null, place: null, struck: [], unknown: 0 }));
  const cells = [];
  steps.forEach((step, number) => {
    for (let place = 0; place < step.emitted; place++) {
      const kept = place < step.accepted;
      const kind = kept ? "accepted" : !step.proposed ? "plain" : step.accepted === step.proposed ? "bonus" : "choice";
      const cell = { id: ids[cells.length], kind, step: number, place: kept ? place : null, struck: [], unknown: 0 };
      if (kind === "choice") {
        cell.struck = step.drafted.slice(step.accepted);
        cell.unknown = step.proposed - step.accepted - cell.struck.length;
      }
      cells.push(cell);
    }
  });
  return cells;
}

/** Return the element of one cell; `textOf` returns the text of an id. */
function tokenElement(cell, textOf) {
  const element = make("span", "token " + cell.kind);
  appendVisible(element, textOf(cell.id));
  if (cell.kind === "choice") {
    const struck = make("span", "struck");
    cell.struck.forEach((id, at) => {
      const part = make("span", at ? "unread" : "");
      appendVisible(part, textOf(id));
      struck.append(part);
    });
    if (cell.unknown) struck.append(make("span", "unknown", cell.struck.length ? "…" : "?"));
    element.append(struck);
  }
  return element;
}

/** Fill an element with the tokens of a lane; return their elements. */
function drawTokens(parent, cells, textOf) {
  parent.replaceChildren();
  return cells.map((cell) => {
    const element = tokenElement(cell, textOf);
    parent.append(element);
    if (textOf(cell.id).includes("\n")) parent.append(document.createElement("br"));
    return element;
  });
}

/** Fill an element with a sample of each kind of token and what it means. */
function drawLegend(parent) {
  parent.replaceChildren(...Object.entries(KINDS).map(([kind, meaning]) => {
    const entry = make("span"), tokens = make("span", "tokens"), sample = make("span", "token " + kind, "token");
    if (kind === "choice") {
      sample.textContent = "kept";
      sample.append(make("span", "struck", "drafted"));
    }
    tokens.append(sample);
    entry.append(tokens, " " + meaning);
    return entry;
  }));
}
