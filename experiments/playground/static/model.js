// The exported model and its vocabulary, in the browser.

import * as ort from "./onnxruntime/ort.wasm.bundle.min.mjs";
import { Tokenizers } from "./tokenizers.js";

const [PADDING, START, OOV, END, FIRST_WORD] = [0, 1, 2, 3, 4];
const SIGN_KEEPERS = ["text", "html", "text_cased", "whitespace"];

ort.env.wasm.numThreads = 1; // more would need headers that a plain server does not send
ort.env.wasm.wasmPaths = {
  wasm: new URL("./onnxruntime/ort-wasm-simd-threaded.wasm", import.meta.url).href,
};

async function json(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer.json();
}

export async function load() {
  const [about, vocabulary] = await Promise.all([json("about.json"), json("vocabulary.json")]);
  const session = await ort.InferenceSession.create(
    new URL("model.onnx", import.meta.url).href, { executionProviders: ["wasm"] });
  const kinds = { imdb_sentiment: Sentiment, next_word: NextWord };
  return new kinds[about.experiment](about, vocabulary, session);
}

class Model {
  constructor(about, vocabulary, session) {
    this.about = about;
    this.session = session;
    this.words = vocabulary.words;
    this.tokenizer = vocabulary.tokenizer;
    this.tokenizers = new Tokenizers(about);
    this.idOf = new Map(this.words.map((word, place) => [word, place + FIRST_WORD]));
  }

  tokens(text) {
    return this.tokenizers.tokenize(text, this.tokenizer);
  }

  isKnown(token) {
    return this.idOf.has(token);
  }

  // The ids of a text, as `Vocabulary.encode` gives them.
  encode(text) {
    return [START, ...this.tokens(text).map((token) => this.idOf.get(token) ?? OOV)];
  }

  run(ids, states = {}) {
    return this.session.run(
      { ids: new ort.Tensor("int32", Int32Array.from(ids), [1, ids.length]), ...states });
  }
}

class Sentiment extends Model {
  // What `SentimentRun.predict` says.
  async predict(text) {
    const { maxlen } = this.about;
    const all = this.encode(text);
    const ids = all.slice(-maxlen);
    const padded = [...Array(maxlen - ids.length).fill(PADDING), ...ids];
    const { probability: found } = await this.run(padded);
    const probability = found.data[0];
    const decided = probability > 0.5 ? "positive" : "negative";
    const label = probability >= 0.45 && probability <= 0.55 ? "undecided" : decided;
    return {
      label: ids.some((id) => id >= FIRST_WORD) ? label : null,
      probability,
      words: all.length - 1,
      read: ids.filter((id) => id !== START).length,
    };
  }
}

class NextWord extends Model {
  get goesOn() { // after the end of a line
    return this.about.split === "stream";
  }

  get backwards() {
    return Boolean(this.about.backwards);
  }

  // The ids of a text as the model reads them.
  encode(text) {
    const ids = this.goesOn
      ? text.split("\n").flatMap((line) => [END, ...super.encode(line).slice(1)])
      : super.encode(text);
    return this.backwards ? [ids[0], ...ids.slice(1).reverse()] : ids;
  }

  // Log-probabilities of what follows ids, and the states after them.
  async step(ids, states) {
    const given = Object.fromEntries(this.session.inputMetadata.slice(1).map(
      ({ name, shape }) => [name, states?.[`${name}_next`] ??
        new ort.Tensor("float32", new Float32Array(shape[1]), [1, shape[1]])]));
    const { logits, ...after } = await this.run(ids, given);
    const numbers = Float64Array.from(logits.data);
    const most = numbers.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = most + Math.log(numbers.reduce((sum, one) => sum + Math.exp(one - most), 0));
    return [numbers.map((one, id) => ([PADDING, START, OOV].includes(id)
      ? -Infinity : one - total)), after];
  }

  // Id, name and probability of the likeliest next words.
  async nextWords(text, count) {
    const [logProbabilities] = await this.step(this.encode(text));
    const order = Array.from(logProbabilities.keys());
    order.sort((a, b) => logProbabilities[b] - logProbabilities[a] || a - b);
    return order.slice(0, count).filter((id) => logProbabilities[id] > -Infinity).map((id) => ({
      id,
      word: id === END ? (this.goesOn ? "[new line]" : "[end of the text]")
        : this.words[id - FIRST_WORD],
      probability: Math.exp(logProbabilities[id]),
      ends: id === END && !this.goesOn,
    }));
  }

  // The text that grows by a word each time. `how`: tokens, temperature, top_k, top_p.
  async* write(text, how) {
    const prompt = this.encode(text);
    const written = [];
    let [logProbabilities, states] = await this.step(prompt);
    while (written.length < how.tokens) {
      const id = drawn(logProbabilities, how);
      if (id === END && !this.goesOn) return;
      written.push(id);
      yield this.extended(text, prompt, written);
      [logProbabilities, states] = await this.step([id], states);
    }
  }

  // A text with more words, as `NextWordRun.generate` writes it.
  extended(text, prompt, ids) {
    if (this.backwards) {
      return `${this.decode([...ids].reverse())} ${text.trimStart()}`.trimEnd();
    }
    const before = this.decode(prompt.slice(1));
    const whole = this.decode([...prompt.slice(1), ...ids]);
    const more = whole.startsWith(before) ? whole.slice(before.length)
      : ` ${this.decode(ids)}`;
    return (text.replace(/ +$/, "") + more).trimStart();
  }

  decode(ids) {
    const lines = [[]];
    for (const id of ids) {
      if (id >= FIRST_WORD) lines.at(-1).push(this.words[id - FIRST_WORD]);
      else if (id === END && SIGN_KEEPERS.includes(this.tokenizer)) lines.push([]);
      else if (id !== PADDING && id !== START) lines.at(-1).push("[UNK]");
    }
    return lines.map((line) => this.tokenizers.join(line, this.tokenizer)).join("\n");
  }
}

// An id, drawn as `Sampling` says; at temperature 0 the likeliest one.
function drawn(logProbabilities, { temperature, top_k: topK, top_p: topP }) {
  const order = Array.from(logProbabilities.keys());
  order.sort((a, b) => logProbabilities[b] - logProbabilities[a] || a - b);
  if (!temperature) return order[0];
  const most = logProbabilities[order[0]];
  let weights = order.map((id) => Math.exp((logProbabilities[id] - most) / temperature));
  if (topK) weights = weights.slice(0, topK);
  const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);
  const enough = topP * sum(weights);
  let before = 0;
  weights = weights.filter((one) => {
    const kept = before < enough;
    before += one;
    return kept;
  });
  let left = Math.random() * sum(weights);
  const place = weights.findIndex((one) => (left -= one) < 0);
  return order[Math.max(place, 0)];
}
