"""The interactive map's page; ``maps.write_page`` puts the data in."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Map of the tracks</title>
<style>
  html, body { margin: 0; height: 100%; font: 14px/1.4 system-ui, sans-serif; color: #222; }
  canvas { position: fixed; inset: 0; cursor: crosshair; }
  header { position: fixed; left: 16px; top: 12px; pointer-events: none; }
  h1 { font-size: 18px; font-weight: 600; margin: 0; }
  p { margin: 2px 0 0; color: #666; }
  #legend { position: fixed; right: 16px; top: 12px; background: #fffd; padding: 8px 12px;
            border-radius: 8px; box-shadow: 0 1px 6px #0002; }
  #legend button { display: block; border: 0; background: none; font: inherit; cursor: pointer;
                   padding: 2px 0; }
  #legend button.off { opacity: .3; }
  #legend i { display: inline-block; width: 11px; height: 11px; border-radius: 50%;
              margin-right: 8px; }
  #card { position: fixed; display: none; pointer-events: none; background: #fff; padding: 8px;
          border-radius: 8px; box-shadow: 0 2px 12px #0004; max-width: 260px; font-size: 12px; }
  #card img { display: block; width: 128px; height: 128px; border-radius: 4px; margin-bottom: 6px;
              image-rendering: auto; }
  #card b { overflow-wrap: anywhere; }
</style>
</head>
<body>
<canvas id="map"></canvas>
<header><h1 id="title"></h1><p id="count"></p></header>
<div id="legend"></div>
<div id="card"><img alt=""><b></b><div id="what"></div></div>
<script id="data" type="application/json">__DATA__</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const canvas = document.getElementById("map"), pen = canvas.getContext("2d");
const card = document.getElementById("card"), legend = document.getElementById("legend");
const hidden = new Set();
const view = { scale: 1, x: 0, y: 0 };
const RADIUS = 4, THUMBNAIL = 40, REACH = 20;
let hovered = null, held = null;

const loading = data.points.map(point => new Promise(done => {
  point.picture = new Image();
  point.picture.onload = point.picture.onerror = done;
  point.picture.src = "data:image/jpeg;base64," + point.image;
}));

function place(point) {
  const side = Math.min(innerWidth, innerHeight) - 120;
  return [view.x + (innerWidth - side) / 2 + point.x * side * view.scale,
          view.y + 80 + point.y * side * view.scale];
}

function draw() {
  const ratio = devicePixelRatio || 1;
  canvas.width = innerWidth * ratio;
  canvas.height = innerHeight * ratio;
  canvas.style.width = innerWidth + "px";
  canvas.style.height = innerHeight + "px";
  pen.scale(ratio, ratio);
  const shown = data.points.filter(p => !hidden.has(p.cluster));
  // Exemplars take the place of points where few enough are in view to be seen.
  const inView = shown.filter(p => { const [x, y] = place(p);
    return x > 0 && y > 0 && x < innerWidth && y < innerHeight; });
  const pictures = inView.length * THUMBNAIL * THUMBNAIL < 0.3 * innerWidth * innerHeight;
  for (const point of inView) {
    const [x, y] = place(point), big = point === hovered;
    pen.fillStyle = pen.strokeStyle = data.colours[point.cluster];
    pen.lineWidth = big ? 4 : 2.5;
    if (pictures && point.picture.complete) {
      const s = THUMBNAIL;
      pen.drawImage(point.picture, x - s / 2, y - s / 2, s, s);
      pen.strokeRect(x - s / 2, y - s / 2, s, s);
    } else {
      pen.globalAlpha = big ? 1 : 0.75;
      pen.beginPath();
      pen.arc(x, y, big ? 2 * RADIUS : RADIUS, 0, 7);
      pen.fill();
      pen.globalAlpha = 1;
    }
  }
}

function nearest(px, py) {
  let best = null, least = REACH * REACH;
  for (const point of data.points) {
    if (hidden.has(point.cluster)) continue;
    const [x, y] = place(point), d = (x - px) ** 2 + (y - py) ** 2;
    if (d < least) { best = point; least = d; }
  }
  return best;
}

function hover(px, py) {
  hovered = nearest(px, py);
  card.style.display = hovered ? "block" : "none";
  if (hovered) {
    card.querySelector("img").src = hovered.picture.src;
    card.querySelector("b").textContent = hovered.track;
    document.getElementById("what").textContent =
      "cluster " + hovered.cluster + (hovered.name ? " · " + hovered.name : "");
    card.style.left = Math.min(px + 16, innerWidth - card.offsetWidth - 8) + "px";
    card.style.top = Math.min(py + 16, innerHeight - card.offsetHeight - 8) + "px";
  }
  draw();
}

canvas.addEventListener("pointerdown", e => { held = [e.clientX - view.x, e.clientY - view.y]; });
addEventListener("pointerup", () => { held = null; });
canvas.addEventListener("pointermove", e => {
  if (held) { view.x = e.clientX - held[0]; view.y = e.clientY - held[1]; }
  hover(e.clientX, e.clientY);
});
canvas.addEventListener("pointerleave", () => { if (!held) hover(-1e4, -1e4); });
canvas.addEventListener("wheel", e => {
  e.preventDefault();
  const factor = Math.exp(-e.deltaY / 400);
  const side = Math.min(innerWidth, innerHeight) - 120;
  const [ox, oy] = [(innerWidth - side) / 2, 80];
  view.x = e.clientX - ox - (e.clientX - ox - view.x) * factor;
  view.y = e.clientY - oy - (e.clientY - oy - view.y) * factor;
  view.scale *= factor;
  hover(e.clientX, e.clientY);
}, { passive: false });
addEventListener("resize", draw);

document.title = data.title;
document.getElementById("title").textContent = data.title;
document.getElementById("count").textContent = data.points.length +
  " tracks · wheel: zoom · drag: move · pointer: exemplar";
const clusters = [...new Set(data.points.map(p => p.cluster))].sort((a, b) => a - b);
for (const cluster of clusters) {
  const button = document.createElement("button"), dot = document.createElement("i");
  dot.style.background = data.colours[cluster];
  button.append(dot, "cluster " + cluster + " (" +
    data.points.filter(p => p.cluster === cluster).length + ")");
  button.onclick = () => {
    hidden.has(cluster) ? hidden.delete(cluster) : hidden.add(cluster);
    button.classList.toggle("off");
    draw();
  };
  legend.append(button);
}
Promise.all(loading).then(() => {
  draw();
  document.body.dataset.ready = data.points.filter(p => p.picture.naturalWidth > 0).length;
});
draw();
</script>
</body>
</html>
"""
