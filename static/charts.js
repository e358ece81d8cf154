// Shows the numbers of a chart when one points at it or walks through it with the arrow keys. Without this script, the table below has them.
"use strict";

const tip = document.createElement("div");
tip.className = "chart-tip";
tip.hidden = true;
const spoken = document.createElement("p");
spoken.className = "sr";
spoken.setAttribute("role", "status");
document.body.append(tip, spoken);

let shown = null; // the chart, the number of its point, and whether the keyboard chose it

const points_of = (chart) => (chart.points ||= JSON.parse(chart.dataset.tips));

const hide = () => {
  tip.hidden = true;
  if (shown) shown.chart.querySelector(".cursor")?.remove();
  shown = null;
};

const draw_cursor = (chart, x, y) => {
  chart.querySelector(".cursor")?.remove();
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "g");
  cursor.setAttribute("class", "cursor");
  const bottom = chart.classList.contains("tall") ? 90 : 78;
  cursor.innerHTML = `<line class="cross" x1="${x}%" x2="${x}%" y1="0" y2="${bottom}%"></line><circle cx="${x}%" cy="${y}%" r="4"></circle>`;
  chart.append(cursor);
};

const show = (chart, number, byKey) => {
  const points = points_of(chart);
  if (!points.length) return hide();
  if (shown && shown.chart !== chart) hide();
  const place = Math.max(0, Math.min(points.length - 1, number));
  const [x, y, at, value, remark] = points[place];
  draw_cursor(chart, x, y);
  const lines = [at, value, remark].map((text, index) => {
    const line = document.createElement(index === 1 ? "b" : "span");
    line.textContent = text;
    return line;
  });
  tip.replaceChildren(...lines.filter((line) => line.textContent));
  tip.hidden = false;
  const box = chart.getBoundingClientRect();
  const left = box.left + (box.width * x) / 100;
  const width = tip.offsetWidth;
  const right = left + 12 + width > document.documentElement.clientWidth - 8;
  tip.style.left = `${Math.max(8, right ? left - 12 - width : left + 12) + window.scrollX}px`;
  tip.style.top = `${Math.max(8, box.top + (box.height * y) / 100 - tip.offsetHeight - 12) + window.scrollY}px`;
  if (byKey) spoken.textContent = [at, value, remark].filter(Boolean).join(", ");
  shown = { chart, number: place, byKey };
};

const chart_of = (target) => (target instanceof Element ? target.closest("[data-tips]") : null);

document.addEventListener("pointermove", (event) => {
  const chart = chart_of(event.target);
  if (!chart) {
    if (shown && !shown.byKey) hide();
    return;
  }
  const box = chart.getBoundingClientRect();
  const x = (100 * (event.clientX - box.left)) / box.width;
  let nearest = 0;
  points_of(chart).forEach((point, number, all) => {
    if (Math.abs(point[0] - x) < Math.abs(all[nearest][0] - x)) nearest = number;
  });
  show(chart, nearest, false);
});
document.addEventListener("pointerdown", (event) => {
  if (!chart_of(event.target)) hide();
});

const STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return hide();
  const chart = chart_of(event.target);
  if (!chart || !(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const last = points_of(chart).length - 1;
  const from = shown && shown.chart === chart ? shown.number : last + (event.key === "ArrowLeft" ? 1 : 0);
  show(chart, from + STEPS[event.key], true);
});
document.addEventListener("focusout", (event) => {
  if (chart_of(event.target)) hide();
});

// A live update replaces the charts: make the new ones focusable, and go on showing the same point.
const begin = () => {
  const charts = [...document.querySelectorAll("[data-tips]")];
  for (const chart of charts) chart.setAttribute("tabindex", "0");
  if (!shown || shown.chart.isConnected) return;
  const { number, byKey, chart: old } = shown;
  const same = charts.find((chart) => chart.dataset.chart === old.dataset.chart);
  hide();
  if (!same) return;
  if (byKey) same.focus();
  show(same, number, false);
  shown.byKey = byKey;
};
for (const box of document.querySelectorAll('[data-part="charts"]')) new MutationObserver(begin).observe(box, { childList: true });
begin();

// The link above the chart opens the table, which older browsers do not do by themselves.
addEventListener("hashchange", () => {
  if (location.hash === "#chart-data") document.querySelector(".chart-data").open = true;
});
