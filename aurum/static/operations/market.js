// Draws a market's prices and volume from the API's candles.
import { bars, chart, colour } from "./charts.js";

const root = document.getElementById("chart");
const trouble = document.getElementById("chart-trouble");
const names = [...root.querySelectorAll("ul > li")].map((item) => item.textContent);
// As many as lines are drawn; the first three are the theme's.
const COLOURS = ["--link-fg", "--second", "--good", "--bad", "--warn", "--body-quiet-color", "--primary", "--accent"];

function draw({ series }) {
  const shown = series.slice(0, names.length);
  const candles = shown[0]?.candles ?? [];
  if (!candles.length) return "There is no price yet.";
  const times = candles.map(({ time }) => Date.parse(time) / 1000);
  chart(
    root.querySelector('[data-chart="prices"]'),
    names.map((label, place) => ({
      label,
      stroke: colour(COLOURS[place]),
      width: 1.5,
      points: { show: times.length < 3 },
      value: (_, price) => (price === null ? "–" : price.toFixed(4)),
    })),
    [times, ...shown.map(({ candles: each }) => each.map(({ close }) => close))],
    { height: 220, range: () => [0, 1] },
  );
  const scale = 10 ** Number(root.dataset.decimals);
  const volume = times.map((_, place) => series.reduce((sum, each) => sum + Number(each.candles[place].volume), 0) / scale);
  chart(
    root.querySelector('[data-chart="volume"]'),
    [{ label: "volume", fill: colour("--link-fg"), paths: bars(), points: { show: false } }],
    [times, volume],
    { height: 120 },
  );
  return "";
}

async function load() {
  const answer = await fetch(root.dataset.source);
  const said = await answer.json();
  return answer.ok ? draw(said) : `There are no candles: ${said.detail ?? answer.status}`;
}

trouble.textContent = "The candles are on their way.";
trouble.textContent = await load().catch(() => "The candles could not be loaded.");
trouble.hidden = !trouble.textContent;
