// Charts of the tables beside the figures: each replaces the picture in its figure.
const SVG_TEXT = s => String(s).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const signed = v => (v < 0 ? "−" : "+") + Math.abs(v).toFixed(3);
const minus = v => String(v).replace("-", "−");
const unique = list => [...new Set(list)];
const tip = document.getElementById("tip");

function ticks(low, high, most) {
  const raw = (high - low) / most, ten = 10 ** Math.floor(Math.log10(raw));
  const step = ten * [1, 2, 5, 10].find(s => s * ten >= raw * 0.999), found = [];
  for (let t = Math.ceil(low / step - 1e-9); t * step <= high + 1e-9; t++) found.push(+(t * step).toPrecision(6));
  return found;
}

// A panel: scales, grid, ticks and labels, around what `draw` gives.
function panel(box, { title, width, height, left = 46, x, y, xticks, yticks, xlabel }, draw) {
  const right = width - 14, top = title ? 28 : 10, bottom = height - (xlabel ? 42 : 4);
  const X = v => left + (v - x[0]) / (x[1] - x[0]) * (right - left);
  const Y = v => bottom - (v - y[0]) / (y[1] - y[0]) * (bottom - top);
  const grid = (xticks || []).map(t => `<line class="${t === 0 ? "zero" : "grid"}" x1="${X(t)}" x2="${X(t)}" y1="${top}" y2="${bottom}"/>` +
    (xlabel ? `<text x="${X(t)}" y="${bottom + 16}" text-anchor="middle">${minus(t)}</text>` : "")).join("") +
    (yticks || []).map(t => `<line class="${t === 0 ? "zero" : "grid"}" x1="${left}" x2="${right}" y1="${Y(t)}" y2="${Y(t)}"/>` +
    `<text x="${left - 6}" y="${Y(t) + 4}" text-anchor="end">${minus(t)}</text>`).join("");
  const head = title ? `<text class="head" x="4" y="16">${SVG_TEXT(title)}</text>` : "";
  const foot = xlabel ? `<text x="${right}" y="${height - 6}" text-anchor="end">${SVG_TEXT(xlabel)}</text>` : "";
  const div = box.appendChild(document.createElement("div"));
  div.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${SVG_TEXT(title || xlabel)}">${grid}${head}${foot}${draw(X, Y)}</svg>`;
  return { div, X, Y, left, right };
}

const colour = (all, name) => `style="--c:${all[name] || "#3387c4"}"`;
const bounds = r => `95 %: [${signed(r.low)}, ${signed(r.high)}]` +
  (r.low_all == null ? "" : `\nfor all comparisons together: [${signed(r.low_all)}, ${signed(r.high_all)}]`);
const between = (r, ends) => ends.map(n => r[n]).filter(v => v != null);

function places(rows, columns) {  // rows by the columns in which they may differ
  const plain = ["benchmark", "measure", "tracker", "point"];
  const name = r => columns.map(n => plain.includes(n) ? r[n] : `${n.split(".").pop()} ${r[n]}`).join(", ");
  return unique(rows.map(name)).map(title => [title, rows.filter(r => name(r) === title)]);
}

function forest(box, rows, { colours, options = {}, place = ["benchmark"] }, width) {
  const differing = n => unique(rows.map(r => r[n])).length, other = differing("minus") > differing("tracker") ? "minus" : "tracker";
  const label = options.rows || other, groups = options.groups ? [options.groups] : place;
  const all = rows.flatMap(r => [0, ...between(r, ["low", "high", "low_all", "high_all"])]);
  const room = (Math.max(...all) - Math.min(...all)) * 0.05, x = [Math.min(...all) - room, Math.max(...all) + room];
  const left = Math.min(width * 0.46, 14 + 7 * Math.max(...rows.map(r => String(r[label]).length + 2)));
  const metric = (options.metric || "AUC").replace("success ", "");
  const what = differing("tracker") === 1 ? `${metric} of ${rows[0].tracker} minus that of …`
    : differing("minus") === 1 ? `${metric} of … minus that of ${rows[0].minus}` : `difference in ${metric}`;
  const parts = places(rows, groups);
  for (const [title, part] of parts) {
    const y = [part.length - 0.5, -0.5], last = part === parts.at(-1)[1];
    panel(box, { title: metric === "AUC" ? title : `${title}: ${metric}`, width, height: (last ? 72 : 34) + 26 * part.length, left, x, y, xticks: ticks(...x, width < 500 ? 4 : 8), xlabel: last ? what : "" }, (X, Y) => part.map((r, i) => {
      const bar = (low, high, kind) => low == null ? "" : `<line class="mark ${kind}" ${colour(colours, r[other])} x1="${X(low)}" x2="${X(high)}" y1="${Y(i)}" y2="${Y(i)}"/>`;
      const told = `${r.tracker} − ${r.minus}: ${signed(r.difference)}\n${bounds(r)}\n${r.sequences} sequences` +
        (r.starts == null ? "" : ` × ${r.starts} starts × ${r.seeds} seeds`);
      return `<text class="name" x="${left - 10}" y="${Y(i) + 4}" text-anchor="end">${SVG_TEXT(r[label])}</text>` +
        bar(r.low_all, r.high_all, "thin") + bar(r.low, r.high, "wide") +
        `<circle class="dot" ${colour(colours, r[other])} cx="${X(r.difference)}" cy="${Y(i)}" r="5"/>` +
        `<rect class="over" data-tip="${SVG_TEXT(told)}" x="0" width="${width}" y="${Y(i) - 13}" height="26"/>`;
    }).join(""));
  }
}

// Success and precision: the nearest threshold tells the values of all trackers, best first.
function curves(box, rows, { colours }, width, hidden) {
  const names = unique(rows.map(r => r.tracker)), labels = { success: "overlap (IoU) above", precision: "centre error within, pixels" };
  for (const [title, part] of places(rows, ["measure"])) {
    const shown = part.filter(r => !hidden.has(r.tracker)), xs = unique(part.map(r => r.threshold)).sort((a, b) => a - b);
    const y = [0, 1], size = { title, width, height: 320, x: [xs[0], xs.at(-1)], y, xticks: ticks(xs[0], xs.at(-1), 5), yticks: ticks(...y, 5) };
    const { div, X } = panel(box, { ...size, xlabel: labels[title] || "threshold" }, (X, Y) => names.filter(name => !hidden.has(name)).map(name => {
      const own = shown.filter(r => r.tracker === name).map(r => `${X(r.threshold)},${Y(r.share)}`);
      return `<polyline class="mark" ${colour(colours, name)} points="${own.join(" ")}"/>`;
    }).join("") + `<line class="zero" y1="28" y2="278" x1="-9" x2="-9"/><rect class="over" width="${width}" height="320"/>`);
    const cursor = div.querySelector("line.zero:last-of-type");
    div.querySelector(".over").addEventListener("pointermove", event => {
      const frame = div.getBoundingClientRect(), at = (event.clientX - frame.left) * width / frame.width;
      const near = xs.reduce((a, b) => Math.abs(X(b) - at) < Math.abs(X(a) - at) ? b : a);
      const told = shown.filter(r => r.threshold === near).sort((a, b) => b.share - a.share);
      cursor.setAttribute("x1", X(near)); cursor.setAttribute("x2", X(near));
      tell(event, [near, ...told.map(r => `${r.share.toFixed(3)}  ${r.tracker}`)].join("\n"));
    });
  }
}

function chart(figure) {
  const { rows, ...look } = JSON.parse(figure.querySelector("script").textContent);
  const draw = !rows.length ? null : "threshold" in rows[0] ? curves : "minus" in rows[0] ? forest : null;
  if (!draw) return;
  const precise = rows.filter(r => r.precision != null).map(({ low_all, high_all, ...r }) =>
    ({ ...r, difference: r.precision, low: r.precision_low, high: r.precision_high }));
  const box = figure.insertBefore(document.createElement("div"), figure.firstChild), hidden = new Set();
  figure.querySelector(".scroll").hidden = true;
  const again = () => {
    box.replaceChildren();
    const panels = box.appendChild(document.createElement("div")), width = figure.clientWidth;
    if (draw === forest) {
      forest(panels, rows, look, width);
      if (look.place && precise.length) forest(panels, precise, { ...look, options: { metric: "precision" } }, width);
      return;
    }
    panels.className = "panels";
    curves(panels, rows, look, Math.max(320, Math.min(470, width)), hidden);
    const key = box.appendChild(document.createElement("div"));
    key.className = "key";
    for (const name of unique(rows.map(r => r.tracker))) {
      const button = key.appendChild(document.createElement("button"));
      button.textContent = name; button.style.setProperty("--c", look.colours[name] || "#3387c4");
      button.setAttribute("aria-pressed", !hidden.has(name));
      button.onclick = () => { hidden.delete(name) || hidden.add(name); again(); };
    }
  };
  again();
  let last = figure.clientWidth;
  addEventListener("resize", () => { if (figure.clientWidth !== last) { last = figure.clientWidth; again(); } });
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
