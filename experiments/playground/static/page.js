// What the reader types, and what the model answers.

import { load } from "./model.js";

const byId = (id) => document.getElementById(id);
const NEXT_WORDS = 10;
let turn = 0; // of the last question: an older answer comes too late

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text; // never as HTML: the words are the reader's own
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function words(model, text) {
  const made = element("p", "", { class: "text" });
  for (const token of model.tokens(text)) {
    made.append(model.isKnown(token) ? token
      : element("mark", token, { title: "The model does not know this word." }), " ");
  }
  return made;
}

// What else the reader should know, as `notes` of the page on a server says it.
function notes(model, text, { words: count, read }) {
  const unknown = [...new Set(model.tokens(text))].filter((one) => !model.isKnown(one));
  return [
    read < count && `The model has read the last ${read} of ${count} words.`,
    unknown.length && `Words that it does not know: ${unknown.join(", ")}.`,
    unknown.length && model.about.vocabulary_note,
  ].filter(Boolean).join(" ");
}

async function classify(model) {
  const text = byId("text").value;
  const prediction = await model.predict(text);
  const { label, probability } = prediction;
  const verdict = label === null ? "No label: the model knows none of the words that it read."
    : `${label[0].toUpperCase()}${label.slice(1)}: the probability of “positive” is ` +
      `${probability.toFixed(3)}.`;
  byId("answer").replaceChildren(element("h2", verdict), words(model, text),
    element("p", notes(model, text, prediction)));
}

async function showNextWords(model, clicked = false) {
  const mine = ++turn;
  const text = byId("text").value;
  const found = await model.nextWords(text, NEXT_WORDS);
  if (mine !== turn) return;
  const bars = element("div", "", { class: "bars", role: "group", "aria-label": "Next words" });
  for (const { id, word, probability, ends } of found) {
    const bar = element("button", "", { type: "button" });
    bar.append(element("span", word), element("span", `${(100 * probability).toFixed(1)}%`));
    bar.style.setProperty("--share", `${(100 * probability) / found[0].probability}%`);
    bar.disabled = ends;
    bar.onclick = () => {
      byId("text").value = model.extended(text, model.encode(text), [id]);
      attempt(showNextWords(model, true));
    };
    bars.append(bar);
  }
  byId("answer").replaceChildren(words(model, text), bars);
  if (clicked) bars.firstChild.focus(); // the bar that had it is gone
}

async function write(model) {
  const mine = ++turn;
  const how = Object.fromEntries(["tokens", "temperature", "top_k", "top_p"].map(
    (id) => [id, Number(byId(id).value)]));
  const shown = element("p", "", { class: "text" });
  byId("answer").replaceChildren(shown);
  for await (const text of model.write(byId("text").value, how)) {
    if (mine !== turn) return;
    shown.textContent = text;
    await new Promise((resume) => { setTimeout(resume); }); // for the page to be drawn
  }
}

try {
  const model = await load();
  const isNextWord = model.about.experiment === "next_word";
  const act = () => attempt((isNextWord ? write : classify)(model));
  byId("run").textContent = model.about.run;
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
  if (isNextWord) {
    byId("how").hidden = false;
    byId("act").textContent = "Write";
    byId("text").addEventListener("input", () => attempt(showNextWords(model)));
    await showNextWords(model);
  }
  byId("status").hidden = true;
  byId("form").hidden = false;
} catch (error) {
  fail(error);
}

function attempt(answer) {
  answer.then(() => { byId("status").hidden = true; }, fail);
}

function fail(error) {
  byId("status").hidden = false;
  byId("status").textContent = `The page failed: ${error.message}`;
}
