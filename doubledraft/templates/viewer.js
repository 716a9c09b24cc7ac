// The viewer's page: a list of questions, the lanes of one, what is known of a token, replay, and bars.
// `page` has the records of decoding.jsonl in short form (report/viewer.py); drawing of tokens is in tokens.js.

const page = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const textOf = (id) => page.texts[id];
const LONGEST = 16; // simulated draft lengths
const NO_TIME = "the engine does not report the time of each step: the answer's time is spread evenly over its steps";

/** What is shown: a question, a place in it, a simulated lane, and the state of the replay. */
const state = { question: null, lane: 0, token: null, simulated: null, shown: [], cells: [], elements: [], replay: null };

// ---- numbers

const percent = (share) => share === 0 ? "0 %" : probability(share);
const probability = (p) => { // the page has ten-thousandths: a 0 of it is a small one
  if (p < 0.001) return "< 0.1 %";
  const percents = 100 * p, fine = p <= 0.1 || (p >= 0.99 && p < 1);
  return (fine ? Math.min(percents, p < 1 ? 99.9 : 100).toFixed(1) : percents.toFixed(0)) + " %";
};
const seconds = (value) => value === null ? "–" : value < 1 ? Math.round(1000 * value) + " ms" : value.toFixed(2) + " s";
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Return tokens per step of a lane, or null where its steps are not known. */
function tokensPerStep(lane) {
  return lane.steps ? lane.ids.length / lane.steps.length : null;
}

/** Return the lane of a question that tells most of drafting: the first one with a draft, else the only one. */
function draftedLane(question) {
  return question.lanes.find((lane) => lane.steps?.some((step) => step.proposed)) ?? question.lanes[question.lanes.length - 1];
}

/** Return the end of every step, in seconds from the start; `known` is false where they are spread evenly. */
function stepEnds(lane) {
  if (!lane.steps || lane.seconds === null) return null;
  const known = lane.steps.every((step) => step.seconds !== null);
  const first = lane.first ?? lane.seconds / lane.steps.length;
  const even = (lane.seconds - first) / Math.max(lane.steps.length - 1, 1);
  let at = 0;
  const ends = lane.steps.map((step, number) => (at += known ? step.seconds : number ? even : first));
  return { ends, known };
}

/** Replay greedy speculation along an answer: the steps of a draft that would propose `best` at each place. */
function simulate(ids, best, length) {
  const steps = [{ emitted: 1, proposed: 0, accepted: 0, drafted: [], seconds: null }];
  for (let at = 1; at < ids.length;) {
    const proposed = Math.min(length, ids.length - at);
    let accepted = 0;
    while (accepted < proposed && best[at + accepted] === ids[at + accepted]) accepted++;
    const emitted = Math.min(accepted + 1, ids.length - at);
    const drafted = [...ids.slice(at, at + accepted), ...(accepted < proposed ? [best[at + accepted]] : [])];
    steps.push({ emitted, proposed, accepted, drafted, seconds: null });
    at += emitted;
  }
  return steps;
}

/** Return the drafts whose choices are known along the audited answer: name and choices. */
function auditedDrafts(question) {
  return question.audit ? [["this draft", question.audit.best], ...Object.entries(question.others)] : [];
}

/** Return the place from which a lane's tokens are not those that the audit read. */
function auditedUpTo(lane, audit) {
  const at = lane.ids.findIndex((id, place) => id !== audit.ids[place]);
  return at < 0 ? lane.ids.length : at;
}

// ---- the list of questions

const ORDERS = {
  file: () => 0,
  worst: (one, other) => (tokensPerStep(draftedLane(one)) ?? 0) - (tokensPerStep(draftedLane(other)) ?? 0),
  best: (one, other) => ORDERS.worst(other, one),
  differs: (one, other) => different(other) - different(one),
  slow: (one, other) => (draftedLane(other).seconds ?? 0) - (draftedLane(one).seconds ?? 0),
  long: (one, other) => other.lanes[0].ids.length - one.lanes[0].ids.length,
};

/** Return how many lanes of a question differ from the first. */
function different(question) {
  return question.lanes.filter((lane) => lane.difference !== null).length;
}

function listed() {
  const wanted = $("search").value.trim().toLowerCase();
  const found = page.questions.filter((question) => !wanted || question.haystack.includes(wanted));
  return found.sort(ORDERS[$("sort").value]); // stable: ties stay in the order of the file
}

function drawList() {
  const questions = listed();
  $("list").replaceChildren(...questions.map((question) => {
    const item = document.createElement("li");
    const button = make("button");
    button.dataset.id = question.id;
    button.append(make("b", "", ""));
    appendVisible(button.firstChild, question.id);
    const rate = tokensPerStep(draftedLane(question));
    const figure = make("span", "", rate === null ? "" : rate.toFixed(2));
    figure.title = "tokens per step";
    if (different(question)) figure.prepend(make("span", "flag", "≠ "));
    const said = make("small");
    appendVisible(said, question.prompt.replaceAll("\n", " "));
    button.append(figure, said);
    button.setAttribute("aria-current", String(question === state.question));
    button.addEventListener("click", () => show(question));
    item.append(button);
    return item;
  }));
  const of = page.left_out ? `${page.questions.length} shown of ${page.questions.length + page.left_out} questions` : `${page.questions.length} questions`;
  $("count").textContent = questions.length === page.questions.length ? `${of}, and the tokens per step of each` : `${questions.length} found in ${of}`;
}

// ---- one question

function show(question, place = {}) {
  stopReplay();
  Object.assign(state, { question, lane: 0, token: null, simulated: null }, place);
  draw();
  drawList();
  document.querySelector('#list [aria-current="true"]')?.scrollIntoView({ block: "nearest" });
}

function draw() {
  const question = state.question;
  state.shown = [...question.lanes];
  if (state.simulated) state.shown.push(simulatedLane(question, state.simulated));
  state.shown = state.shown.filter(Boolean);
  state.cells = state.shown.map((lane) => cellsOf(lane.ids, lane.steps));
  const prompt = make("div", "question");
  appendVisible(prompt, question.prompt);
  // Line feeds of the prompt are shown as line breaks; the box keeps white space.
  prompt.querySelectorAll(".break").forEach((mark) => mark.replaceWith("\n"));
  const longest = Math.max(...state.shown.map((lane) => lane.seconds ?? 0));
  state.elements = [];
  const lanes = state.shown.map((lane, index) => drawLane(lane, index, longest));
  $("main").replaceChildren(make("p", "soft", "question"), prompt, drawReplay(), ...lanes, ...differences(), drawLengths(question), drawFigures(question));
  appendVisible($("main").firstChild, " " + question.id);
  if (state.token !== null) select(state.lane, state.token);
  else { $("inspector").hidden = true; remember(); }
}

function simulatedLane(question, { draft, length }) {
  const best = auditedDrafts(question).find(([name]) => name === draft)?.[1];
  if (!best) return null;
  const ids = question.audit.ids;
  return { name: `${draft}, K = ${length}`, simulated: true, ids, steps: simulate(ids, best, length), seconds: null, first: null, difference: null };
}

function drawLane(lane, index, longest) {
  const section = make("section", lane.simulated ? "lane simulated" : "lane");
  section.dataset.lane = index;
  const title = make("h3", "");
  appendVisible(title, lane.name);
  laneFacts(lane).forEach((fact) => title.append(make("span", "", fact)));
  const tokens = make("div", "tokens");
  state.elements[index] = drawTokens(tokens, state.cells[index], textOf);
  state.elements[index].forEach((element, at) => {
    element.tabIndex = -1;
    element.addEventListener("mouseenter", () => select(index, at, false));
    element.addEventListener("click", () => select(index, at));
    if (at === lane.difference) element.classList.add("differs");
  });
  section.append(title);
  if (lane.steps?.some((step) => step.proposed)) section.append(drawRuler(lane, index));
  section.append(tokens);
  const strip = drawTime(lane, index, longest);
  if (strip) section.append(strip);
  return section;
}

function laneFacts(lane) {
  const facts = [`${lane.ids.length} tokens`];
  if (lane.simulated) facts.unshift("simulated from the audit, greedy");
  if (lane.steps) {
    const proposed = sum(lane.steps.map((step) => step.proposed));
    facts.push(`${lane.steps.length} steps`, `${tokensPerStep(lane).toFixed(2)} tokens per step`);
    if (proposed) facts.push(`${percent(sum(lane.steps.map((step) => step.accepted)) / proposed)} of ${proposed} drafted accepted`);
  } else facts.push("the engine does not report which step emitted which token");
  if (lane.seconds !== null) facts.push(seconds(lane.seconds));
  return facts;
}

/** A column for each step: below what it emitted, above what was rejected. */
function drawRuler(lane, index) {
  const ruler = make("div", "ruler");
  ruler.setAttribute("role", "img");
  ruler.setAttribute("aria-label", "steps: a column each, its tokens from below");
  let at = 0;
  lane.steps.forEach((step, number) => {
    const column = make("span", "step");
    const first = at;
    for (let place = 0; place < step.emitted; place++) column.append(make("i", state.cells[index][at++].kind));
    for (let place = step.emitted; place < step.proposed; place++) column.append(make("i", "rejected"));
    column.title = `step ${number}: ${step.proposed} drafted, ${step.accepted} accepted, ${step.emitted} emitted`;
    column.dataset.step = number;
    column.addEventListener("click", () => select(index, first));
    ruler.append(column);
  });
  return ruler;
}

function drawTime(lane, index, longest) {
  const times = stepEnds(lane);
  if (!times || !longest) return null;
  const strip = make("div", times.known ? "time" : "time spread");
  strip.title = times.known ? "time: a part for each step, the prompt's first" : "time: " + NO_TIME;
  times.ends.forEach((end, number) => {
    const part = make("span", number ? "step" : "step prompt");
    part.style.width = (100 * (end - (times.ends[number - 1] ?? 0))) / longest + "%";
    part.dataset.step = number;
    strip.append(part);
  });
  return strip;
}

/** Return a note for each lane whose answer is not that of the first. */
function differences() {
  return state.question.lanes.filter((lane) => lane.difference !== null).map((lane) => {
    const note = make("p", "note");
    note.append("“" + lane.name + "” first differs from the target alone at token " + (lane.difference + 1) + ": ");
    [lane, state.question.lanes[0]].forEach((one, at) => {
      if (at) note.append(" against ");
      const name = make("b", "name");
      if (lane.difference < one.ids.length) appendVisible(name, textOf(one.ids[lane.difference]));
      else name.append("the end");
      note.append(name);
    });
    if (lane.margin === null) note.append(". How close the choice was is not measured.");
    else {
      note.append(`. The target's two best tokens are ${lane.margin.toPrecision(2)} apart there in log-probability: `);
      note.append(make("b", "", lane.verdict === "tie" ? "a tie of roundings." : "a bug: rounding does not explain it."));
    }
    return note;
  });
}

// ---- what is known of one token

function select(lane, token, scroll = true) {
  const elements = state.elements[lane];
  if (!elements?.length) return;
  token = Math.max(0, Math.min(token, elements.length - 1));
  Object.assign(state, { lane, token });
  document.querySelectorAll(".here, .same-step").forEach((element) => element.classList.remove("here", "same-step"));
  const step = state.cells[lane][token].step;
  elements.forEach((element, at) => element.classList.toggle("same-step", step !== null && state.cells[lane][at].step === step));
  elements[token].classList.add("here");
  document.querySelectorAll(`[data-lane="${lane}"] [data-step="${step}"]`).forEach((element) => element.classList.add("here"));
  if (scroll) {
    elements[token].focus({ preventScroll: true });
    elements[token].scrollIntoView({ block: "nearest" });
    remember(); // not of a token that is pointed at: the way to the address bar leads over others
  }
  inspect(lane, token);
}

function inspect(index, at) {
  const lane = state.shown[index], cell = state.cells[index][at], panel = $("inspector");
  panel.hidden = false;
  panel.classList.toggle("at-top", state.elements[index][at].getBoundingClientRect().top > innerHeight * 0.55);
  const title = make("h3");
  title.append(named(cell.id), ` ${KINDS[cell.kind]}`);
  const facts = [`token ${at + 1} of ${lane.ids.length}`, `id ${page.ids[cell.id]}`];
  if (cell.step !== null) {
    facts.push(cell.step ? `step ${cell.step}` : "the prompt's pass");
    if (cell.place !== null) facts.push(`place ${cell.place + 1} of the draft`);
    const time = lane.steps[cell.step].seconds;
    if (time !== null) facts.push(`the step took ${seconds(time)}`);
  }
  const close = make("button", "close", "×");
  close.setAttribute("aria-label", "close");
  close.addEventListener("click", () => { panel.hidden = true; });
  panel.replaceChildren(close, title, make("p", "soft", facts.join(" · ")), ...rejected(cell), ...odds(lane, cell, at));
}

function named(id) {
  const name = make("span", "name");
  appendVisible(name, textOf(id));
  return name;
}

/** Return what is said of the tokens that were drafted in a token's place and not kept. */
function rejected(cell) {
  if (cell.kind !== "choice") return [];
  const said = make("p", "", "");
  if (cell.struck.length) said.append("rejected here: ", named(cell.struck[0]));
  else said.append("the engine does not report which token was rejected here, and the audit does not tell");
  if (cell.struck.length > 1) said.append("; not read after it: ", ...cell.struck.slice(1).flatMap((id) => [named(id), " "]));
  if (cell.struck.length && cell.unknown) said.append(`; ${cell.unknown} more drafted after it, not reported`);
  return [said];
}

function odds(lane, cell, at) {
  const audit = state.question.audit;
  if (!audit) return [make("p", "soft", "probabilities: there is no draft audit of this answer")];
  const audited = auditedUpTo(lane, audit);
  if (at > audited || at >= audit.ids.length) return [make("p", "soft", "probabilities: not known here, since the audit read another answer from an earlier token on")];
  const own = at === audited ? null : { p: audit.p[at], q: audit.q[at] };
  const parts = [];
  if (own) parts.push(`p ${probability(own.p)} by the target`, `q ${probability(own.q)} by the draft`, `min(1, p/q) ${probability(ratio(own))}`);
  const best = audit.best[at];
  if (best !== cell.id) {
    const pair = { p: chance(audit.target[at], best), q: chance(audit.draft[at], best) };
    const least = audit.target[at].at(-1)[1]; // whatever is not among the five best is less likely
    if (pair.q) parts.push(`min(1, p/q) of the draft's choice ${pair.p === null ? "at most " : ""}${probability(ratio({ p: pair.p ?? least, q: pair.q }))}`);
  }
  parts.push(`expected acceptance at temperature 1: ${probability(audit.overlap[at])}`);
  const line = make("p", "odds");
  parts.forEach((part) => line.append(make("span", "", part)));
  const tops = make("div", "tops");
  tops.append(topTable("target's five best (p)", audit.target[at], cell.id), topTable("draft's five best (q)", audit.draft[at], cell.id));
  return [line, tops];
}

const ratio = ({ p, q }) => q > 0 ? Math.min(1, p / q) : 1;
const chance = (top, id) => top.find(([token]) => token === id)?.[1] ?? null;

function topTable(caption, top, id) {
  const table = document.createElement("table");
  table.append(make("caption", "", caption));
  const body = table.createTBody();
  top.forEach(([token, p]) => {
    const row = body.insertRow();
    if (token === id) row.className = "this";
    row.insertCell().append(named(token));
    const bar = make("i");
    bar.style.width = 100 * p + "%";
    row.insertCell().append(bar);
    row.insertCell().textContent = probability(p);
  });
  return table;
}

// ---- replay

function drawReplay() {
  const timed = state.shown.filter((lane) => stepEnds(lane));
  const bar = make("div", "controls");
  if (!timed.length) return bar;
  const play = make("button", "", "▶ replay");
  play.id = "play";
  play.addEventListener("click", toggleReplay);
  const slider = Object.assign(make("input"), { type: "range", id: "slider", min: 0, max: 1000, value: 1000 });
  slider.setAttribute("aria-label", "time of the replay");
  slider.addEventListener("input", () => { pause(); moveTo((slider.value / 1000) * duration()); });
  const speed = make("select");
  speed.id = "speed";
  speed.setAttribute("aria-label", "speed of the replay");
  [["1", "real speed"], ["0.5", "half speed"], ["0.1", "a tenth"], ["4", "four times"]].forEach(([value, text]) => speed.append(new Option(text, value)));
  const clock = make("span", "clock", duration().toFixed(2) + " s");
  clock.id = "clock";
  bar.append(play, slider, clock, speed);
  if (timed.some((lane) => !stepEnds(lane).known)) bar.append(make("span", "soft", NO_TIME));
  return bar;
}

const duration = () => Math.max(...state.shown.map((lane) => lane.seconds ?? 0));

/** Show every timed lane as it stood some seconds after its start. */
function moveTo(at) {
  state.shown.forEach((lane, index) => {
    const times = stepEnds(lane);
    if (!times) return;
    state.cells[index].forEach((cell, token) => state.elements[index][token].classList.toggle("later", times.ends[cell.step] > at));
    document.querySelectorAll(`[data-lane="${index}"] .ruler .step`).forEach((column) => column.classList.toggle("later", times.ends[column.dataset.step] > at));
    const strip = document.querySelector(`[data-lane="${index}"] .time`);
    const cursor = strip.querySelector(".cursor") ?? strip.appendChild(make("span", "cursor"));
    cursor.style.left = (100 * Math.min(at, lane.seconds)) / duration() + "%";
  });
  $("slider").value = (1000 * at) / duration();
  $("clock").textContent = `${Math.min(at, duration()).toFixed(2)} s`;
}

function toggleReplay() {
  if (state.replay?.running) return pause();
  if (!$("play")) return;
  const from = state.replay && state.replay.at < duration() ? state.replay.at : 0;
  state.replay = { running: true, at: from };
  $("play").textContent = "❚❚ pause";
  let before = performance.now();
  const frame = (now) => {
    if (!state.replay?.running) return;
    state.replay.at += ((now - before) / 1000) * Number($("speed").value);
    before = now;
    moveTo(state.replay.at);
    if (state.replay.at >= duration()) pause();
    else requestAnimationFrame(frame);
  };
  moveTo(from);
  requestAnimationFrame(frame);
}

function pause() {
  if (state.replay) state.replay.running = false;
  if ($("play")) $("play").textContent = "▶ replay";
}

function stopReplay() {
  pause();
  state.replay = null;
}

// ---- other drafts and other K; bars

function drawLengths(question) {
  const part = make("section");
  const drafts = auditedDrafts(question);
  part.append(make("h2", "", "Other drafts, other K"));
  if (!drafts.length) {
    part.append(make("p", "soft", "There is no draft audit of this answer, from which other K could be simulated."));
    return part;
  }
  part.append(make("p", "soft", "Tokens per step if K tokens were drafted in every step, simulated along the audited answer under greedy decoding."), make("p", "soft on-screen", "Choose one to see its steps."));
  drafts.forEach(([name, best]) => {
    if (drafts.length > 1) { const title = make("p", ""); appendVisible(title, name); part.append(title); }
    const row = make("div", "lengths");
    for (let length = 1; length <= LONGEST; length++) {
      const ids = question.audit.ids, rate = ids.length / simulate(ids, best, length).length;
      const button = make("button"), bar = make("i");
      bar.style.height = 1.1 * rate + "rem";
      button.append(make("span", "", rate.toFixed(2)), bar, make("span", "", "K " + length));
      const chosen = state.simulated?.draft === name && state.simulated.length === length;
      button.setAttribute("aria-pressed", String(chosen));
      button.addEventListener("click", () => {
        stopReplay();
        Object.assign(state, { simulated: chosen ? null : { draft: name, length }, lane: 0, token: null });
        draw();
      });
      row.append(button);
    }
    part.append(row);
  });
  return part;
}

/** Say what the squares and the bar of a lane are, beside what its tokens are. */
function drawLaneLegend(parent) {
  const column = make("span", "ruler"), strip = make("span", "time");
  const step = make("span", "step");
  ["accepted", "accepted", "choice", "rejected"].forEach((kind) => step.append(make("i", kind)));
  column.append(step);
  ["step prompt", "step", "step"].forEach((kind) => strip.append(make("span", kind)));
  [[column, "a step: its tokens from below, hatched if rejected"], [strip, "time: the pass over the prompt, then each step"]].forEach(([sample, meaning]) => {
    const entry = make("span");
    entry.append(sample, " " + meaning);
    parent.append(entry);
  });
}

/** Count, over questions, how often each place of a draft was accepted, and each class of token. */
function counted(questions) {
  const places = [], classes = {};
  questions.forEach((question) => {
    const lane = draftedLane(question);
    (lane.steps ?? []).forEach((step) => {
      for (let place = 0; place < step.proposed; place++) {
        const count = (places[place] ??= { kept: 0, n: 0 });
        count.n++;
        if (place < step.accepted) count.kept++;
      }
      step.drafted.slice(0, step.accepted + 1).forEach((id, place) => { // those after the first rejected one are not judged
        const count = (classes[page.class_names[page.classes[id]]] ??= { kept: 0, n: 0 });
        count.n++;
        if (place < step.accepted) count.kept++;
      });
    });
  });
  return { places, classes };
}

function drawFigures(question) {
  const one = counted([question]), all = page.counted ??= counted(page.questions);
  const part = make("div", "figures");
  const rows = all.places.map((count, place) => [`token ${place + 1}`, one.places[place], count]);
  part.append(figure("Accepted, by place in the draft", rows));
  const kinds = Object.entries(all.classes).map(([name, count]) => [name, one.classes[name], count]);
  part.append(figure("Accepted, by class of the drafted token", kinds));
  return part;
}

function figure(title, rows) {
  const part = make("section");
  part.append(make("h2", "", title));
  if (!rows.length) part.append(make("p", "soft", "Nothing was drafted, or the engine does not report what."));
  else part.append(make("p", "soft", "Upper bar: this question. Lower bar: all questions of this page."));
  const grid = make("div", "bars");
  rows.forEach(([name, one, all]) => {
    const bar = make("div", "bar");
    [[one, "one"], [all, "all"]].forEach(([count, kind]) => {
      const line = make("i", kind);
      line.style.width = count ? (100 * count.kept) / count.n + "%" : "0";
      bar.append(line);
    });
    const figures = [one, all].map((count) => count ? `${percent(count.kept / count.n)} of ${count.n}` : "–");
    grid.append(make("span", "", name), bar, make("span", "soft", figures.join("; all: ")));
  });
  part.append(grid);
  return part;
}

// ---- address, keys, start

/** Keep the place in the page's address. */
function remember() {
  const place = new URLSearchParams({ q: state.question.id });
  if (state.token !== null) { place.set("lane", state.lane); place.set("token", state.token + 1); }
  if (state.simulated) { place.set("draft", state.simulated.draft); place.set("k", state.simulated.length); }
  history.replaceState(null, "", "#" + place);
}

function fromAddress() {
  const place = new URLSearchParams(location.hash.slice(1));
  const question = page.questions.find((one) => one.id === place.get("q")) ?? listed()[0];
  if (!question) return;
  const length = Number(place.get("k"));
  const simulated = length >= 1 && length <= LONGEST ? { draft: place.get("draft") ?? "this draft", length } : null;
  const token = Number(place.get("token")) - 1, lane = Number(place.get("lane"));
  const known = Number.isInteger(token) && token >= 0 && Number.isInteger(lane) && lane >= 0;
  show(question, known ? { simulated, lane, token } : { simulated });
}

function stepQuestion(by) {
  const questions = listed(), at = questions.indexOf(state.question);
  const next = questions[at < 0 ? 0 : Math.max(0, Math.min(at + by, questions.length - 1))];
  if (next) show(next);
}

function stepLane(by) {
  const lane = Math.max(0, Math.min(state.lane + by, state.shown.length - 1));
  select(lane, state.token ?? 0);
}

/** Go to the next token of any lane from this one on for which `wanted(cell)` is true. */
function seek(wanted) {
  for (let lane = state.lane; lane < state.shown.length; lane++) {
    const from = lane === state.lane && state.token !== null ? state.token + 1 : 0;
    const at = state.cells[lane].findIndex((cell, place) => place >= from && wanted(cell));
    if (at >= 0) return select(lane, at);
  }
}

const KEYS = {
  j: () => stepQuestion(1),
  k: () => stepQuestion(-1),
  ArrowRight: () => select(state.lane, state.token === null ? 0 : state.token + 1),
  ArrowLeft: () => select(state.lane, (state.token ?? 1) - 1),
  ArrowDown: () => stepLane(state.token === null ? 0 : 1),
  ArrowUp: () => stepLane(-1),
  n: () => seek((cell) => cell.kind === "choice"),
  d: () => {
    const lane = state.shown.findIndex((one) => one.difference !== null);
    if (lane >= 0) select(lane, state.shown[lane].difference);
  },
  p: toggleReplay,
  s: () => { $("sort").selectedIndex = ($("sort").selectedIndex + 1) % $("sort").length; drawList(); },
  "/": () => $("search").focus(),
  "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    $("inspector").hidden = true;
    if (document.activeElement === $("search")) { $("search").value = ""; drawList(); }
    return document.activeElement.blur();
  }
  const typing = event.target.closest?.("input, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !state.question || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

/** Give the short forms of the file their names. */
function unpack(question) {
  const pairs = (flat) => flat.map((top) => top.flatMap((token, at) => at % 2 ? [] : [[token, top[at + 1] / 10000]]));
  question.lanes.forEach((lane) => {
    lane.steps &&= lane.steps.map(([emitted, proposed, accepted, time, drafted]) => ({ emitted, proposed, accepted, seconds: time, drafted }));
  });
  if (question.audit) {
    const shares = (values) => values.map((value) => value / 10000);
    const { ids, p, q, overlap, best, target, draft } = question.audit;
    question.audit = { ids, p: shares(p), q: shares(q), overlap: shares(overlap), best, target: pairs(target), draft: pairs(draft) };
  }
  question.haystack = [question.id, question.prompt, question.lanes[0].ids.map(textOf).join("")].join("\n").toLowerCase();
}

page.questions.forEach(unpack);
drawLegend($("legend"));
drawLaneLegend($("legend"));
$("search").addEventListener("input", drawList);
$("search").addEventListener("keydown", (event) => {
  const [found] = listed();
  if (event.key === "Enter" && found) { show(found); document.activeElement.blur(); }
});
$("sort").addEventListener("change", () => { drawList(); });
addEventListener("hashchange", fromAddress);
fromAddress();
drawList();
