// Keeps the admin's home fresh: asks for its figures every few seconds while somebody looks at it.
import { bars, chart, colour } from "./charts.js";

const INTERVAL = 5_000; // ms behind an answer
const root = document.getElementById("operations");
const trouble = document.getElementById("trouble");

function showFact([key, { text, note, state }]) {
  const element = root.querySelector(`[data-fact="${CSS.escape(key)}"]`);
  if (!element) return;
  element.dataset.state = state;
  const [shown, said] = element.querySelectorAll("dd");
  shown.textContent = text;
  said.textContent = note;
}

function showTable([key, rows]) {
  const element = root.querySelector(`[data-table="${CSS.escape(key)}"]`);
  if (!element) return;
  element.querySelector("tbody").replaceChildren(...rows.map(row));
  element.querySelector(".empty").hidden = rows.length > 0;
}

function row({ state, url, cells }) {
  const element = document.createElement("tr");
  element.dataset.state = state;
  element.append(
    ...cells.map((text, place) => {
      const cell = document.createElement("td");
      if (place === 0 && url) {
        const link = document.createElement("a");
        link.href = url; // the server's own path
        link.textContent = text;
        cell.append(link);
      } else {
        cell.textContent = text;
      }
      return cell;
    }),
  );
  return element;
}

const drawn = new Map();
const SERIES = {
  delay: () => ({ label: "seconds", stroke: colour("--second"), width: 1.5, points: { show: true, size: 4 } }),
  events: () => ({ label: "events", fill: colour("--link-fg"), paths: bars(), points: { show: false } }),
  trades: () => ({ label: "trades", fill: colour("--good"), paths: bars(), points: { show: false } }),
};

function showCharts(charts) {
  root.querySelector(".charts").hidden = false;
  for (const [name, series] of Object.entries(SERIES)) {
    const data = [charts.minutes, charts[name]];
    if (drawn.has(name)) drawn.get(name).setData(data);
    else drawn.set(name, chart(root.querySelector(`[data-chart="${name}"]`), [series()], data));
  }
}

async function refresh() {
  const answer = await fetch(root.dataset.source, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (answer.status === 403) return "You are signed out: load the page again.";
  if (!answer.ok) return `The server answers ${answer.status}.`;
  const figures = await answer.json();
  Object.entries(figures.facts).forEach(showFact);
  Object.entries(figures.tables).forEach(showTable);
  showCharts(figures.charts);
  document.getElementById("at").textContent = figures.at;
  return figures.charts.complete ? "" : "The hour has more events than the charts count.";
}

async function run() {
  for (;;) {
    if (!document.hidden) {
      trouble.textContent = await refresh().catch(() => "The server does not answer; these figures are old.");
      root.dataset.refreshed = String(Number(root.dataset.refreshed ?? 0) + 1);
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
  }
}

run();
