// Charts of the tables beside the figures: each replaces the picture in its figure.
const SVG_TEXT = s => String(s).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const signed = v => (v < 0 ? "−" : "+") + Math.abs(v).toFixed(3);
const unique = list => [...new Set(list)];
const tip = document.getElementById("tip");

function ticks(low, high, most) {
  const raw = (high - low) / most, ten = 10 ** Math.floor(Math.log10(raw));
  const step = ten * [1, 2, 5, 10].find(s => s * ten >= raw * 0.999), found = [];
  for (let t = Math.ceil(low / step - 1e-9); t * step <= high + 1e-9; t++) found.push(+(t * step).toPrecision(6));
  return found;
}

// A panel: scales, grid, ticks and labels, around what `draw` gives.
function panel(box, { title, width, height, left = 46, x, y, xticks, yticks, xlabel, log }, draw) {
  const right = width - 14, top = title ? 28 : 10, bottom = height - 42, f = log ? Math.log : v => v;
  const X = v => left + (f(v) - f(x[0])) / (f(x[1]) - f(x[0])) * (right - left);
  const Y = v => bottom - (v - y[0]) / (y[1] - y[0]) * (bottom - top);
  const grid = (xticks || []).map(t => `<line class="${t === 0 ? "zero" : "grid"}" x1="${X(t)}" x2="${X(t)}" y1="${top}" y2="${bottom}"/>` +
    `<text x="${X(t)}" y="${bottom + 16}" text-anchor="middle">${t}</text>`).join("") +
    (yticks || []).map(t => `<line class="${t === 0 ? "zero" : "grid"}" x1="${left}" x2="${right}" y1="${Y(t)}" y2="${Y(t)}"/>` +
    `<text x="${left - 6}" y="${Y(t) + 4}" text-anchor="end">${t}</text>`).join("");
  const head = title ? `<text class="head" x="${left}" y="16">${SVG_TEXT(title)}</text>` : "";
  const foot = `<text x="${(left + right) / 2}" y="${height - 6}" text-anchor="middle">${SVG_TEXT(xlabel)}</text>`;
  const div = box.appendChild(document.createElement("div"));
  div.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${SVG_TEXT(title || xlabel)}">${grid}${head}${foot}${draw(X, Y)}</svg>`;
  return { div, X, Y, left, right };
}

const colour = (all, name) => `style="--c:${all[name] || "#3387c4"}"`;
const bounds = r => `95 %: [${signed(r.low)}, ${signed(r.high)}]` +
  (r.low_all == null ? "" : `\nfor all comparisons together: [${signed(r.low_all)}, ${signed(r.high_all)}]`);
const between = (r, ends) => ends.map(n => r[n]).filter(v => v != null);

function places(rows, before) {  // rows by the columns in which they differ
  const name = r => before.map(n => n === "benchmark" || n === "measure" ? r[n] : `${n.split(".").pop()} ${r[n]}`).join(", ");
  return unique(rows.map(name)).map(title => [title, rows.filter(r => name(r) === title)]);
}

function forest(box, rows, colours, width) {
  const before = Object.keys(rows[0]).filter((n, i, all) => i < all.indexOf("minus") && n !== "tracker");
  const all = rows.flatMap(r => [0, ...between(r, ["low", "high", "low_all", "high_all"])]);
  const room = (Math.max(...all) - Math.min(...all)) * 0.05, x = [Math.min(...all) - room, Math.max(...all) + room];
  const left = Math.min(width * 0.46, 14 + 7 * Math.max(...rows.map(r => r.minus.length + 2)));
  for (const [title, part] of places(rows, before)) {
    const y = [part.length - 0.5, -0.5];
    panel(box, { title, width, height: 76 + 26 * part.length, left, x, y, xticks: ticks(...x, width < 500 ? 4 : 8),
      xlabel: `AUC of ${part[0].tracker} minus that of …` }, (X, Y) => part.map((r, i) => {
      const bar = (low, high, kind) => low == null ? "" : `<line class="mark ${kind}" ${colour(colours, r.minus)} x1="${X(low)}" x2="${X(high)}" y1="${Y(i)}" y2="${Y(i)}"/>`;
      const told = `${r.tracker} − ${r.minus}: ${signed(r.difference)}\n${bounds(r)}\n${r.sequences} sequences` +
        (r.starts == null ? "" : ` × ${r.starts} starts × ${r.seeds} seeds`);
      return `<text class="name" x="${left - 10}" y="${Y(i) + 4}" text-anchor="end">${SVG_TEXT(r.minus)}</text>` +
        bar(r.low_all, r.high_all, "thin") + bar(r.low, r.high, "wide") +
        `<circle class="dot" ${colour(colours, r.minus)} cx="${X(r.difference)}" cy="${Y(i)}" r="5"/>` +
        `<rect class="over" data-tip="${SVG_TEXT(told)}" x="0" width="${width}" y="${Y(i) - 13}" height="26"/>`;
    }).join(""));
  }
}

// Lines of several trackers: the nearest x tells the values of all of them, best first.
function lines(box, rows, colours, width, hidden, { at, value, form, more, options, before }) {
  const names = unique(rows.map(r => r.tracker));
  for (const [title, part] of places(rows, before)) {
    const shown = part.filter(r => !hidden.has(r.tracker)), xs = unique(part.map(r => r[at])).sort((a, b) => a - b);
    const { div, X } = panel(box, { title, width, height: 320, ...options(part, xs) }, (X, Y) =>
      names.map((name, i) => {
        const own = shown.filter(r => r.tracker === name).sort((a, b) => a[at] - b[at]), style = colour(colours, name);
        const beside = v => X(v) + (more ? 5 * (i - (names.length - 1) / 2) : 0);  // or bars would cover bars
        return `<polyline class="mark" ${style} points="${own.map(r => `${beside(r[at])},${Y(r[value])}`).join(" ")}"/>` +
          (more ? own.map(r => more(r, beside, Y, style)).join("") : "");
      }).join("") + `<line class="zero" y1="28" y2="278" x1="-9" x2="-9"/><rect class="over" width="${width}" height="320"/>`);
    const cursor = div.querySelector("line.zero:last-of-type");
    div.querySelector(".over:last-child").addEventListener("pointermove", event => {
      const frame = div.getBoundingClientRect(), x = (event.clientX - frame.left) * width / frame.width;
      const near = xs.reduce((a, b) => Math.abs(X(b) - x) < Math.abs(X(a) - x) ? b : a);
      const told = shown.filter(r => r[at] === near).sort((a, b) => b[value] - a[value]).map(form);
      cursor.setAttribute("x1", X(near)); cursor.setAttribute("x2", X(near));
      tell(event, `${near}\n${told.join("\n")}`);
    });
  }
}

const KINDS = [
  ["threshold", (box, rows, colours, width, hidden) => lines(box, rows, colours, width, hidden, {
    at: "threshold", value: "share", before: ["measure"], form: r => `${r.share.toFixed(3)}  ${r.tracker}`,
    options: (part, xs) => ({ x: [0, xs.at(-1)], y: [0, 1], xticks: ticks(0, xs.at(-1), 5), yticks: ticks(0, 1, 5),
      xlabel: part[0].measure === "success" ? "overlap (IoU) above" : "centre error within, pixels" }) })],
  ["tracks", (box, rows, colours, width, hidden) => {
    const all = rows.flatMap(r => [0, r.low, r.high]), y = [Math.min(...all) - 0.004, Math.max(...all) + 0.004];
    const range = [Math.min(...rows.map(r => r.tracks)) / 1.4, Math.max(...rows.map(r => r.tracks)) * 1.4];
    lines(box, rows, colours, width, hidden, {
      at: "tracks", value: "difference", form: r => `${signed(r.difference)} [${signed(r.low)}, ${signed(r.high)}]  ${r.tracker}`,
      before: Object.keys(rows[0]).filter(n => /separation|benchmark/.test(n)),
      more: (r, X, Y, style) => `<line class="mark thin" ${style} x1="${X(r.tracks)}" x2="${X(r.tracks)}" y1="${Y(r.low)}" y2="${Y(r.high)}"/>` +
        `<circle class="dot" ${style} cx="${X(r.tracks)}" cy="${Y(r.difference)}" r="4"/>`,
      options: (part, xs) => ({ log: true, x: range, y, xticks: xs, yticks: ticks(...y, 6), xlabel: "training tracks (upwards: gain in AUC)" }) });
  }],
  ["minus", forest],
];

function chart(figure) {
  const { rows, colours } = JSON.parse(figure.querySelector("script").textContent);
  const kind = rows.length && KINDS.find(([column]) => column in rows[0]);
  if (!kind) return;
  const box = figure.insertBefore(document.createElement("div"), figure.firstChild), hidden = new Set();
  figure.querySelector(".scroll")?.setAttribute("hidden", "");
  const draw = () => {
    box.replaceChildren();
    const panels = box.appendChild(document.createElement("div"));
    if (kind[1] !== forest) panels.className = "panels";
    kind[1](panels, rows, colours, kind[1] === forest ? figure.clientWidth : Math.max(320, Math.min(470, figure.clientWidth)), hidden);
    if (kind[1] === forest) return;
    const key = box.appendChild(document.createElement("div"));
    key.className = "key";
    for (const name of unique(rows.map(r => r.tracker))) {
      const button = key.appendChild(document.createElement("button"));
      button.textContent = name; button.style.setProperty("--c", colours[name] || "#3387c4");
      button.setAttribute("aria-pressed", !hidden.has(name));
      button.onclick = () => { hidden.delete(name) || hidden.add(name); draw(); };
    }
  };
  draw();
  let last = figure.clientWidth;
  addEventListener("resize", () => { if (figure.clientWidth !== last) { last = figure.clientWidth; draw(); } });
}

function tell(event, text) {
  tip.textContent = text; tip.style.display = "block";
  const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8), y = event.clientY + 16;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${y + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : y}px`;
}
addEventListener("pointermove", event => {
  const told = event.target.dataset?.tip;
  if (told) tell(event, told); else if (!event.target.closest?.(".over")) tip.style.display = "none";
});
document.querySelectorAll("figure.chart").forEach(chart);

// What lies on this machine only: called by local/local.js, where a run has left it.
function showLocal({ notebooks, pictures }) {
  const place = document.getElementById("local");
  place.hidden = !(notebooks.length || pictures.length);
  for (const name of notebooks) place.querySelector("ul").insertAdjacentHTML("beforeend", `<li><a href="local/${name}.html">${name}</a></li>`);
  for (const name of pictures) place.insertAdjacentHTML("beforeend",
    `<figure><img src="figures/photographs/${encodeURI(name)}" alt="${SVG_TEXT(name)}"><figcaption>${SVG_TEXT(name)}</figcaption></figure>`);
}
