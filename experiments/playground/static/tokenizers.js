// The tokenizers of lstm_keras.preprocessing.tokenizers: see there what each does, and
// why. The classes of characters are those of the Python that wrote this page. Texts of
// ASCII take no path of their own here, which in Python is for speed.

const UNKNOWN = "[UNK]";
const split = (text) => text.split(" ");
const CLOSING = new Set(split(", . ; : ! ? … ) ] } ’ ” »"));
const OPENING = new Set(split("( [ { ‘ “ « ¿ ¡"));
const AROUND = new Set("\"'()[]{}‘’“”«»");
const LINKS = new Map([["@-@", "-"], ["@,@", ","], ["@.@", "."]]);
const SIGN_KEEPERS = ["text", "html", "text_cased", "whitespace"];

export class Tokenizers {
  constructor({ classes, entities, references }) {
    this.entities = entities;
    this.references = references;
    const escaped = (code) => `\\u{${code.toString(16)}}`;
    const [W, D, L, S, M, U] = ["word", "digit", "letter", "space", "mark", "unassigned"].map(
      (name) => classes[name].map(
        ([first, last]) => `${escaped(first)}-${escaped(last)}`).join(""));
    const all = (pattern) => new RegExp(pattern, "gu");
    const whole = (pattern) => new RegExp(`^(?:${pattern})$`, "u");

    this.assigned = all(`[^${U}]+`);
    this.entity = /&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z0-9]{2,31});/g;
    this.tag = /<\/?[a-zA-Z][^<>]*>/g;
    this.apostrophe = /[´‘’׳]/g;
    this.invisible = all("[\\u{ad}\\u{fe00}-\\u{fe0f}\\u{e0100}-\\u{e01ef}]");
    this.signs = all(`[^${W}${S}]{31,}`);
    this.excessMarks = all(`([${M}]{30})[${M}]+`);
    this.alone = /[\u00bc-\u00be\u2150-\u215f\u2120\u2122]/g;
    this.han = all("[\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3fffd}]");

    const number = `[${D}]+(?:[.,/:][${D}]+)+`;
    const letters = `[${W}][${W}${M}\\u200c\\u200d]*`;
    const picture = "[\\u231a-\\u23ff\\u2600-\\u27bf\\u2b50\\u2b55\\u{1f000}-\\u{1faff}]";
    const emoji = `${picture}[\\u{1f3fb}-\\u{1f3ff}]?`;
    const pictures = `[\\u{1f1e6}-\\u{1f1ff}]{2}|${emoji}(?:\\u200d${emoji})*`;
    this.word = all(`${number}|${letters}(?:'${letters})*|${pictures}`);

    const silent = "\\0-\\x08\\x0e-\\x1f\\x7f-\\x84\\x86-\\x9f\\u200b-\\u200f" +
      "\\u202a-\\u202e\\u2060-\\u206f\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb" +
      "\\u{e0000}-\\u{e0fff}";
    const sign = `\\.+|-+|!+|\\?+|\\*+|=+|~+|'+|\`+|[^${W}${S}${silent}]`;
    const inUrl = `${S}<>"${silent}`;
    const url = "(?:[hH][tT][tT][pP][sSſ]?:\\/\\/|[wW][wW][wW]\\.)" +
      `[^${inUrl}]*[^${inUrl}.,;:!?)\\]}']`;
    const abbreviation = `(?:[${L}]\\u0307?\\.){2,}(?![${W}])`;
    const capital = "A-ZÀ-ÖØ-ÞΑ-ΩЀ-Я";
    const dot = `\\.(?:(?![${capital}])|(?<=[${capital}]\\.))`;
    const part = `(?:${number}(?:${letters})?|${letters})`;
    const word = `${part}(?:(?:['-]|${dot})${part})*(?:@${letters}(?:[.-]${letters})+)?`;
    this.text = all(`${url}|${abbreviation}|${word}|${pictures}|${sign}`);

    this.space = new RegExp(`[${S}]+`, "u");
    this.ending = whole(`'[${L}]+|n't`);
    this.starting = whole(`[${L}](?:(?!_)[${W}]|['-])*`);
    this.isDigit = whole(`[${D}]`);
  }

  tokenize(text, name) {
    switch (name) {
      case "words": {
        const plain = this.#lower(this.#normalized(this.#withoutHtml(text))
          .replaceAll("`", "'").replaceAll("_", " "));
        return this.#normalize(plain, "NFC").match(this.word) ?? [];
      }
      case "keras":
        return split(this.#lower(text).replace(/[!-&(-/:-@[-`{-~\t\n]/g, " "))
          .filter(Boolean);
      case "html":
        return this.tokenize(this.#withoutHtml(text), "text");
      case "text":
        return this.tokenize(text, "text_cased").map(
          (token) => this.#normalize(this.#lower(token), "NFC"));
      case "text_cased":
        return this.#normalized(text).match(this.text) ?? [];
      case "whitespace":
        return text.split(this.space).filter(Boolean);
      default:
        throw new Error(`expected a tokenizer; received ${name}`);
    }
  }

  #withoutHtml(text) {
    return text.replace(this.entity, (entity) => this.#unescaped(entity.slice(1)))
      .replace(this.tag, " ");
  }

  #unescaped(entity) {
    if (entity.startsWith("#")) {
      const hexadecimal = /^#[xX]/.test(entity);
      const code = parseInt(entity.slice(hexadecimal ? 2 : 1), hexadecimal ? 16 : 10);
      if (code in this.references) return this.references[code];
      if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return "\ufffd";
      return String.fromCodePoint(code);
    }
    for (let length = entity.length; length > 1; length -= 1) {
      const name = entity.slice(0, length);
      if (Object.hasOwn(this.entities, name)) {
        return this.entities[name] + entity.slice(length);
      }
    }
    return `&${entity}`;
  }

  #normalized(text) {
    const plain = text.replace(this.invisible, "").replace(this.apostrophe, "'")
      .replace(this.signs, (run) => run.replace(this.excessMarks, "$1"))
      .replace(this.alone, " $& ");
    return this.#normalize(plain, "NFKC")
      .replaceAll("\u2044", "/").replaceAll("ʼ", "'").replace(this.han, " $& ");
  }

  // Characters that Python does not know stay as they are.
  #normalize(text, form) {
    return text.replace(this.assigned, (known) => known.normalize(form));
  }

  #lower(text) {
    return text.replace(this.assigned, (known) => known.toLowerCase());
  }

  // Tokens as people write them.
  join(tokens, name) {
    if (!SIGN_KEEPERS.includes(name)) return tokens.join(" ");
    const shown = ["text", "html"].includes(name) ? this.#capitalized(tokens) : tokens;
    const starts = this.#spaced(tokens).flatMap((space, place) => (space ? [place] : []));
    return starts.flatMap((start, place) => {
      const end = starts[place + 1] ?? tokens.length;
      const own = tokens.slice(start, end);
      const piece = shown.slice(start, end).map((token) => LINKS.get(token) ?? token).join("");
      return name === "whitespace" || this.#splitsInto(piece, own, name) ? [piece] : own;
    }).join(" ");
  }

  #spaced(tokens) {
    const isOpen = new Map([['"', false], ["'", false]]);
    let before = "";
    return tokens.map((token) => {
      let sign = token;
      if (isOpen.has(token)) {
        isOpen.set(token, !isOpen.get(token));
        sign = isOpen.get(token) ? "“" : "”";
      }
      const space = !before || !this.#touch(before, sign);
      before = sign;
      return space;
    });
  }

  #touch(left, right) {
    return CLOSING.has(right) || OPENING.has(left) || /^[.!?]*$/.test(right) ||
      left === "/" || right === "/" || LINKS.has(left) || LINKS.has(right) ||
      (right === "%" && this.isDigit.test([...left].at(-1))) ||
      (["$", "£", "€"].includes(left) && this.isDigit.test([...right][0])) ||
      this.ending.test(right);
  }

  #capitalized(tokens) {
    let atStart = true;
    return tokens.map((token) => {
      if (/^[.!?]*$/.test(token)) {
        atStart = token !== "...";
      } else if (!AROUND.has(token)) {
        const [first, ...rest] = token;
        const starts = atStart && this.starting.test(token);
        atStart = false;
        return starts ? first.toUpperCase() + rest.join("") : token;
      }
      return token;
    });
  }

  #splitsInto(text, tokens, name) {
    const found = this.tokenize(text.replaceAll(UNKNOWN, "x"), name);
    const known = tokens.map((token) => (token === UNKNOWN ? "x" : token));
    return found.length === known.length && found.every((one, i) => one === known[i]);
  }
}
