"use strict";
// Shows the numbers of the page's JSON for the word, layer and unit that the reader picks.
(() => {
  const data = JSON.parse(document.getElementById("sentence-data").textContent);
  const byId = (id) => document.getElementById(id);
  const PANELS = { gates: ["i", "f", "o"], states: ["g", "c", "h"] };
  const PANEL_HEIGHT = 130;
  const LEAST_COLUMN = 15; // pixels, so that the words below the columns can be read
  const FEW = 24; // units that the heat map shows at first
  const words = byId("words");
  const inside = byId("inside");
  const options = [...words.querySelectorAll("[role=option]")];
  const [gatesAxis, statesAxis, heatAxis] = inside.querySelectorAll(".axis");
  const menu = Object.fromEntries(["method", "layer", "unit", "quantity", "rows"].map(
    (id) => [id, byId(id)]));
  const unpacked = new Map();
  let chosen = data.chosen;
  let column = LEAST_COLUMN; // its width
  let lines = {}; // by quantity a number for each word, of the chosen unit or the mean

  const layer = () => data.layers[Number(menu.layer.value)];
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
  const plain = (value) => value.toFixed(3).replace("-", "−");
  const sign = (value) => (value < 0 ? "negative" : "positive");
  const largest = (values) => values.reduce((most, one) => Math.max(most, Math.abs(one)), 0);

  function element(tag, attributes = {}, text = "") {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text; // never as HTML: the words are the reader's own
    return made;
  }

  function shape(tag, attributes = {}, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  }

  // A quantity of the layer as a function of word and unit.
  function values(name) {
    const { step, integers } = layer()[name];
    if (!unpacked.has(integers)) {
      const text = atob(integers);
      const bytes = new Uint8Array(text.length);
      for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
      unpacked.set(integers, new Int16Array(bytes.buffer));
    }
    const [array, units] = [unpacked.get(integers), layer().order.length];
    return (place, unit) => array[place * units + unit] * step;
  }

  function fillUnits() {
    const { unit: turning, order } = layer();
    const at = `which turns most at “${data.words[data.chosen]}”`;
    menu.unit.replaceChildren(element("option", { value: "all" }, "mean of all"),
      ...order.map((unit) => element("option", { value: unit },
        `unit ${unit}` + (unit === turning ? `, ${at}` : ""))));
    menu.unit.value = turning;
    menu.rows.replaceChildren(element("option", { value: FEW }, `the ${FEW} that move most`),
      element("option", { value: order.length }, `all ${order.length}`));
    menu.rows.parentElement.hidden = order.length <= FEW;
  }

  function takeUnit() {
    const units = menu.unit.value === "all" ? layer().order : [Number(menu.unit.value)];
    lines = Object.fromEntries(Object.keys(data.names).map((name) => {
      const value = values(name);
      return [name, data.words.map((_, place) => units.reduce(
        (sum, unit) => sum + value(place, unit), 0) / units.length)];
    }));
  }

  function colorWords() {
    const scores = data.methods[menu.method.value];
    const most = largest(scores) || 1;
    options.forEach((option, place) => {
      const share = (50 * Math.abs(scores[place]) / most).toFixed(1);
      option.style.background =
        `color-mix(in srgb, var(--${sign(scores[place])}) ${share}%, transparent)`;
    });
  }

  function table(caption, rows) {
    const made = element("table");
    made.append(element("caption", {}, caption));
    for (const [name, text, share, kind] of rows) {
      const row = element("tr");
      const cell = element("td");
      cell.append(element("span", { class: `bar ${kind}`,
        style: `width: ${(100 * share).toFixed(1)}%` }));
      row.append(element("th", { scope: "row" }, name),
        element("td", { class: "number" }, text), cell);
      made.append(row);
    }
    return made;
  }

  const unitName = () => (menu.unit.value === "all" ? "mean of all units"
    : `unit ${menu.unit.value}`);

  function showDetail() {
    const probability = data.probabilities[chosen];
    const predictions = [["positive", plain(probability), probability, "positive"]];
    for (const [method, scores] of Object.entries(data.methods)) {
      predictions.push([method, signed(scores[chosen]),
        Math.abs(scores[chosen]) / (largest(scores) || 1), sign(scores[chosen])]);
    }
    const gates = Object.entries(data.names).map(([name, title]) => {
      const gate = PANELS.gates.includes(name);
      const value = lines[name][chosen];
      return [title, plain(value), Math.abs(value) / (gate ? 1 : largest(lines[name]) || 1),
        name];
    });
    byId("detail").replaceChildren(
      element("h3", {}, `Word ${chosen + data.first} of ` +
        `${data.words.length - 1 + data.first}: “${data.words[chosen]}”`),
      table("Prediction so far, and what the word adds", predictions),
      table(`${layer().name}, ${unitName()}`, gates));
    for (const [panel, names] of Object.entries(PANELS)) {
      byId(panel).setAttribute("aria-label", `At the chosen word: ${names.map(
        (name) => `${data.names[name]} ${plain(lines[name][chosen])}`).join(", ")}`);
    }
  }

  // The lines of a panel over the columns, and its axis.
  function drawPanel(panel, axis) {
    const names = PANELS[panel];
    const all = names.flatMap((name) => lines[name]);
    const least = panel === "gates" ? 0 : -1;
    const [low, high] = [Math.min(least, ...all), Math.max(1, ...all)];
    const x = (place) => column * (place + 0.5);
    const y = (value) => 6 + (PANEL_HEIGHT - 12) * (high - value) / (high - low);
    const middle = panel === "gates" ? 0.5 : 0;
    const ticks = [middle, ...[low, high].filter(
      (end) => Math.abs(y(end) - y(middle)) > 12)]; // pixels between two labels
    const width = column * data.words.length;
    byId(panel).replaceChildren(
      ...ticks.map((value) => shape("line", { class: "rule", x1: 0, x2: width,
        y1: y(value), y2: y(value) })),
      ...names.map((name) => shape("polyline", { class: name, points: lines[name].map(
        (value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`).join(" ") })));
    axis.replaceChildren(...ticks.map((value) => shape("text", { x: 36, y: y(value) + 4,
      "text-anchor": "end" }, value.toFixed(1).replace("-", "−"))));
    for (const one of [byId(panel), axis]) one.setAttribute("height", PANEL_HEIGHT);
    byId(panel).setAttribute("width", width);
    const title = panel === "gates" ? "Gates" : "Candidate and states";
    byId(`${panel}-head`).replaceChildren(element("strong", {}, `${title}, ${unitName()}`),
      ...names.map((name) => {
        const item = element("span");
        const sample = shape("svg", { "aria-hidden": "true" });
        sample.append(shape("line", { class: name, x2: "100%", y1: "50%", y2: "50%" }));
        item.append(sample, data.names[name]);
        return item;
      }));
  }

  function drawNames() {
    const flat = column > 64;
    const names = byId("names");
    const short = data.words.map((word) => (word.length > 14 ? `${word.slice(0, 13)}…` : word));
    const longest = Math.max(...short.map((word) => word.length));
    names.setAttribute("width", column * data.words.length);
    names.setAttribute("height", flat ? 20 : 12 + 7 * longest);
    names.replaceChildren(...short.map((text, place) => {
      const x = column * (place + 0.5);
      return shape("text", flat ? { x, y: 14, "text-anchor": "middle" }
        : { transform: `translate(${x + 4} 6) rotate(-90)`, "text-anchor": "end" }, text);
    }));
  }

  function fitColumns() {
    const room = inside.clientWidth - gatesAxis.clientWidth;
    column = Math.max(LEAST_COLUMN, room / data.words.length);
    drawNames();
  }

  // Red, green and blue of a color of the page.
  function colorOf(name) {
    const probe = byId("scale");
    probe.style.color = `var(--${name})`;
    const found = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
    probe.style.color = "";
    return found;
  }

  // A gate from nothing to full gray; the others from full orange to full blue.
  function drawHeat() {
    const name = menu.quantity.value;
    const gate = PANELS.gates.includes(name);
    const [below, above] = gate ? ["gate", "gate"] : ["negative", "positive"];
    const [low, high] = [colorOf(below), colorOf(above)];
    const units = layer().order.slice(0, Number(menu.rows.value));
    const [heat, value, count] = [byId("heat"), values(name), data.words.length];
    [heat.width, heat.height] = [count, units.length];
    const picture = heat.getContext("2d").createImageData(count, units.length);
    const pixels = picture.data;
    let at = 0;
    for (const unit of units) {
      for (let place = 0; place < count; place += 1) {
        const found = name === "c" ? Math.tanh(value(place, unit)) : value(place, unit);
        const color = found < 0 ? low : high;
        for (let part = 0; part < 3; part += 1) pixels[at + part] = color[part];
        pixels[at + 3] = 255 * Math.min(1, Math.abs(found));
        at += 4;
      }
    }
    heat.getContext("2d").putImageData(picture, 0, 0);
    const height = units.length > FEW ? Math.max(2, Math.min(12, 480 / units.length)) : 12;
    heat.style.width = `${column * count}px`;
    heat.style.height = `${height * units.length}px`;
    drawUnits(units, height);
    const bar = element("i", { style: `background: linear-gradient(90deg, ${gate
      ? "transparent" : "var(--negative), transparent"}, var(--${above}))` });
    byId("scale").replaceChildren(gate ? "0" : "−1", bar, "1");
    heat.setAttribute("aria-label", `Heat map of the ${menu.quantity.selectedOptions[0]
      .textContent}: a column for each word, a row for each unit, those that move most at ` +
      "the top");
  }

  function drawUnits(units, height) {
    const every = Math.ceil(12 / height);
    heatAxis.setAttribute("height", height * units.length);
    heatAxis.replaceChildren(...units.map((unit, row) => [unit, row]).filter(
      ([, row]) => row % every === 0).map(([unit, row]) => shape("text", {
      x: 36, y: Math.max(9, height * (row + 0.5) + 4), "text-anchor": "end",
      class: String(unit) === menu.unit.value ? "chosen" : "" }, unit)));
  }

  function choose(place) {
    options[chosen].setAttribute("aria-selected", "false");
    chosen = Math.max(0, Math.min(data.words.length - 1, place));
    options[chosen].setAttribute("aria-selected", "true");
    words.setAttribute("aria-activedescendant", options[chosen].id);
    showDetail();
    const axis = gatesAxis.clientWidth;
    const left = column * chosen;
    byId("cursor").style.left = `${axis + left}px`;
    byId("cursor").style.width = `${column}px`;
    const room = inside.clientWidth - axis - column;
    if (left < inside.scrollLeft || left > inside.scrollLeft + room) {
      inside.scrollLeft = left - room / 2;
    }
  }

  function draw() {
    drawPanel("gates", gatesAxis);
    drawPanel("states", statesAxis);
    drawHeat();
    choose(chosen);
  }

  function show() {
    takeUnit();
    draw();
  }

  const keys = { ArrowRight: () => chosen + 1, ArrowDown: () => chosen + 1,
    ArrowLeft: () => chosen - 1, ArrowUp: () => chosen - 1, Home: () => 0,
    End: () => data.words.length - 1 };
  words.addEventListener("keydown", (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    choose(keys[event.key]());
    options[chosen].scrollIntoView({ block: "nearest" });
  });
  for (const kind of ["pointerover", "click"]) {
    words.addEventListener(kind, (event) => {
      const place = options.indexOf(event.target);
      if (place >= 0) choose(place);
    });
  }
  for (const id of ["gates", "states", "heat", "names"]) {
    byId(id).addEventListener("click", (event) => {
      const box = byId(id).getBoundingClientRect();
      if (id === "heat") {
        const row = event.target.height * (event.clientY - box.top) / box.height;
        menu.unit.value = layer().order[Math.floor(row)];
        show();
      }
      choose(Math.floor((event.clientX - box.left) / column));
    });
  }
  menu.method.addEventListener("change", colorWords);
  menu.layer.addEventListener("change", () => { fillUnits(); show(); });
  menu.unit.addEventListener("change", show);
  menu.quantity.addEventListener("change", drawHeat);
  menu.rows.addEventListener("change", drawHeat);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawHeat);
  window.addEventListener("resize", () => { fitColumns(); draw(); });

  fillUnits();
  colorWords();
  fitColumns();
  show();
})();
