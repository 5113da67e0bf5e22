// What the admin's charts share: uPlot (a classic script of the page) in the admin's colours, light and dark.
/* global uPlot */

const HEIGHT = 150; // CSS pixels

/** A colour of the page's theme, asked for each time that something is drawn. */
export function colour(name) {
  return () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const axis = {
  stroke: colour("--body-quiet-color"),
  grid: { stroke: colour("--hairline-color"), width: 1 },
  ticks: { stroke: colour("--hairline-color"), width: 1, size: 4 },
  font: "11px system-ui",
};

/** Bars from 0, for counts. */
export function bars() {
  return uPlot.paths.bars({ size: [0.7, 20] });
}

/**
 * A chart in `figure`, as wide as it is. Times are Unix seconds, shown in UTC; `series` are uPlot's, without the first.
 */
export function chart(figure, series, data, { height = HEIGHT, range } = {}) {
  const width = () => Math.max(120, Math.floor(figure.clientWidth - 20));
  const options = {
    width: width(),
    height,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    legend: { live: true },
    cursor: { drag: { x: false, y: false } },
    scales: { x: { range: padded }, y: { range: range ?? ((_, low, high) => [0, Math.max(1, high * 1.1)]) } },
    axes: [
      { ...axis, size: 28, space: 60, values: shortTimes },
      { ...axis, size: 44, space: 30 },
    ],
    series: [{ value: "{YYYY}-{MM}-{DD} {HH}:{mm}" }, ...series],
  };
  const drawn = new uPlot(options, data, figure);
  new ResizeObserver(() => drawn.width !== width() && drawn.setSize({ width: width(), height })).observe(figure);
  const again = () => drawn.redraw(false, true);
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  return drawn;
}

/** A little room on both sides, and an hour around a single moment. */
function padded({ data: [times] }) {
  const [low, high] = [times[0], times.at(-1)]; // uPlot's own guess for a single moment is years
  const pad = high > low ? (high - low) / 60 : 1_800;
  return [low - pad, high + pad];
}

/** Hours and minutes while the ticks lie within two days, days otherwise. */
function shortTimes(_, splits) {
  const isLong = splits.length > 1 && splits.at(-1) - splits[0] > 172_800;
  return splits.map((seconds) => {
    const text = new Date(seconds * 1000).toISOString();
    return isLong ? text.slice(5, 10) : text.slice(11, 16);
  });
}
