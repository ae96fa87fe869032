"use strict";
// Shows the numbers of the page's JSON for the word, layer and unit that the reader picks.
(() => {
  const data = JSON.parse(document.getElementById("sentence-data").textContent);
  const byId = (id) => document.getElementById(id);
  const words = byId("words");
  const options = [...words.querySelectorAll("[role=option]")];
  const controls = { method: byId("method"), layer: byId("layer"), unit: byId("unit"),
    quantity: byId("quantity") };
  const NAMES = { i: "input gate i", f: "forget gate f", o: "output gate o",
    g: "candidate g", c: "cell state c", h: "hidden state h" };
  const COLORS = { i: "#0072B2", f: "#D55E00", o: "#009E73", g: "#E69F00", c: "#56B4E9",
    h: "#CC79A7" };
  const DASHES = { i: "", f: "6 3", o: "2 3", g: "", c: "6 3", h: "2 3" };
  let chosen = data.words.length - 1;

  const layer = () => data.layers[Number(controls.layer.value)];
  // A number for each word: of one unit, or the mean of all.
  const series = (name) => layer()[name].map((row) => controls.unit.value === "all"
    ? row.reduce((sum, value) => sum + value, 0) / row.length
    : row[Number(controls.unit.value)]);
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
  const plain = (value) => value.toFixed(3).replace("-", "−");

  function element(tag, attributes = {}, text = "", svg = false) {
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text; // never as HTML: the words are the reader's own
    return made;
  }

  // Blue speaks for the positive class, orange against it.
  function colorWords() {
    const scores = data.methods[controls.method.value];
    const most = Math.max(...scores.map(Math.abs)) || 1;
    options.forEach((option, place) => {
      const hue = scores[place] < 0 ? "--orange" : "--blue";
      const share = 0.75 * Math.abs(scores[place]) / most;
      option.style.background = `rgba(var(${hue}), ${share.toFixed(3)})`;
    });
  }

  function fillUnits() {
    controls.unit.replaceChildren(element("option", { value: "all" }, "mean of all"));
    layer().order.forEach((unit, rank) => controls.unit.append(element("option",
      { value: unit }, `unit ${unit}` + (rank === 0 ? ", which moves most" : ""))));
    controls.unit.value = layer().order[0];
  }

  function bar(share, value) {
    const color = value < 0 ? "--orange" : "--blue";
    return element("span", { class: "bar",
      style: `width: ${(100 * share).toFixed(1)}%; background: rgb(var(${color}))` });
  }

  function table(caption, rows) {
    const made = element("table");
    made.append(element("caption", {}, caption));
    for (const [name, text, share, value] of rows) {
      const row = element("tr");
      const cell = element("td");
      cell.append(bar(share, value));
      row.append(element("th", { scope: "row" }, name),
        element("td", { class: "number" }, text), cell);
      made.append(row);
    }
    return made;
  }

  function showDetail() {
    const probability = data.probabilities[chosen];
    const predictions = [["positive", plain(probability), probability, 1]];
    for (const [method, scores] of Object.entries(data.methods)) {
      const most = Math.max(...scores.map(Math.abs)) || 1;
      predictions.push([method, signed(scores[chosen]), Math.abs(scores[chosen]) / most,
        scores[chosen]]);
    }
    const gates = Object.keys(NAMES).map((name) => {
      const all = series(name);
      const most = "ifo".includes(name) ? 1 : Math.max(...all.map(Math.abs)) || 1;
      return [NAMES[name], plain(all[chosen]), Math.abs(all[chosen]) / most, all[chosen]];
    });
    const which = controls.unit.value === "all" ? "mean of all units"
      : `unit ${controls.unit.value}`;
    byId("detail").replaceChildren(
      element("h3", {}, `Word ${chosen + 1} of ${data.words.length}: ` +
        `“${data.words[chosen]}”`),
      table("Prediction up to here, and what the word contributes", predictions),
      table(`${layer().name}, ${which}`, gates));
  }

  function line(name, attributes, tag = "polyline") {
    return element(tag, { fill: "none", stroke: COLORS[name], "stroke-width": 2,
      "stroke-dasharray": DASHES[name], ...attributes }, "", true);
  }

  function fillLegend() {
    for (const [name, title] of Object.entries(NAMES)) {
      const item = element("li");
      const sample = element("svg", { "aria-hidden": "true" }, "", true);
      sample.append(line(name, { x1: 0, x2: "100%", y1: "50%", y2: "50%" }, "line"));
      item.append(sample, title);
      byId("legend").append(item);
    }
  }

  // One line for each gate and state over the words, and a cursor.
  function drawChart() {
    const chart = byId("chart");
    const [width, height, left] = [chart.clientWidth, chart.clientHeight, 34];
    const all = Object.keys(NAMES).map((name) => [name, series(name)]);
    const low = Math.min(0, ...all.flatMap(([, values]) => values));
    const high = Math.max(1, ...all.flatMap(([, values]) => values));
    const last = Math.max(1, data.words.length - 1);
    const x = (place) => left + (width - left - 8) * place / last;
    const y = (value) => 8 + (height - 16) * (high - value) / (high - low);
    const rule = (attributes) => element("line", { stroke: "currentColor",
      ...attributes }, "", true);
    const ticks = [0, 1, ...(low < -0.2 ? [low] : []), ...(high > 1.2 ? [high] : [])];
    chart.replaceChildren(
      ...ticks.flatMap((value) => [
        rule({ x1: left, x2: width, y1: y(value), y2: y(value), "stroke-opacity": 0.25 }),
        element("text", { x: 2, y: y(value) + 4 }, value.toFixed(1).replace("-", "−"),
          true)]),
      ...all.map(([name, values]) => line(name, { points: values.map((value, place) =>
        `${x(place).toFixed(1)},${y(value).toFixed(1)}`).join(" ") })),
      rule({ id: "cursor", x1: x(chosen), x2: x(chosen), y1: 0, y2: height }));
    chart.setAttribute("aria-label", "Gates and states by word; at the chosen word: " +
      all.map(([name, values]) => `${NAMES[name]} ${plain(values[chosen])}`).join(", "));
  }

  // White to blue for gates; around zero from orange over white to blue.
  function shade(value, most) {
    const share = Math.min(1, Math.abs(value) / most);
    const end = value < 0 ? [213, 94, 0] : [0, 114, 178];
    return end.map((part) => Math.round(255 + (part - 255) * share));
  }

  function drawHeat() {
    const name = controls.quantity.value;
    const { order } = layer();
    const rows = layer()[name];
    const most = "ifo".includes(name) ? 1
      : Math.max(...rows.flat().map(Math.abs)) || 1;
    const heat = byId("heat");
    [heat.width, heat.height] = [rows.length, order.length];
    const context = heat.getContext("2d");
    const picture = context.createImageData(heat.width, heat.height);
    order.forEach((unit, row) => rows.forEach((values, place) => {
      const at = 4 * (row * heat.width + place);
      picture.data.set([...shade(values[unit], most), 255], at);
    }));
    context.putImageData(picture, 0, 0);
    byId("heat-cursor").style.left = `${100 * chosen / rows.length}%`;
    byId("heat-cursor").style.width = `${100 / rows.length}%`;
    const text = `Heat map of the ${NAMES[name]}: a column for each word, a row for ` +
      `each unit, those that move most at the top; white is 0, full blue ` +
      `${plain(most)}${"ifo".includes(name) ? "" : `, full orange −${plain(most)}`}.`;
    heat.setAttribute("aria-label", text);
    byId("heat-caption").textContent = text;
  }

  function choose(place) {
    chosen = Math.max(0, Math.min(data.words.length - 1, place));
    options.forEach((option, other) =>
      option.setAttribute("aria-selected", String(other === chosen)));
    words.setAttribute("aria-activedescendant", options[chosen].id);
    showDetail();
    drawChart();
    drawHeat();
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
  byId("heat").addEventListener("click", (event) => {
    const box = event.target.getBoundingClientRect();
    const row = Math.floor(event.target.height * (event.clientY - box.top) / box.height);
    controls.unit.value = layer().order[row];
    choose(Math.floor(event.target.width * (event.clientX - box.left) / box.width));
  });
  controls.method.addEventListener("change", colorWords);
  controls.layer.addEventListener("change", () => { fillUnits(); choose(chosen); });
  controls.unit.addEventListener("change", () => choose(chosen));
  controls.quantity.addEventListener("change", drawHeat);

  window.addEventListener("resize", drawChart);

  fillLegend();
  fillUnits();
  colorWords();
  choose(chosen);
})();
