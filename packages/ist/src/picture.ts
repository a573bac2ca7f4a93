import { importance, learned, shares, weights } from "./history.ts";
import type { History, StepByBlock } from "./history.ts";

const CHART = { width: 640, height: 300, left: 52, right: 12, top: 12, bottom: 32 };
/** Points of a curve, and columns of a map; longer runs are thinned or averaged. */
const MOST_COLUMNS = 160;

/** An SVG chart of the importance of every block over the steps. Blue is the first block, red the last. */
export function importanceChart(history: History): string {
  const { blocks } = history;
  const { steps, rows } = thinned(importance(history));
  const { width, height, left, right, top, bottom } = CHART;
  const last = Math.max(2, steps.at(-1) as number);
  const values = rows.flat();
  const [low, high] = [Math.min(-0.5, ...values), Math.max(0.5, ...values)];
  const x = (step: number): string => (left + ((width - left - right) * (step - 1)) / (last - 1)).toFixed(1);
  const y = (value: number): string => (top + ((height - top - bottom) * (high - value)) / (high - low)).toFixed(1);
  const curves = blocks.map((block, at) => {
    const points = steps.map((step, i) => `${x(step)},${y((rows[i] as readonly number[])[at] as number)}`).join(" ");
    return `<polyline fill="none" stroke="${hue(at, blocks.length)}" stroke-width="1.5" points="${points}"><title>block ${block}</title></polyline>`;
  });
  const grid = [low, 0, high].map(
    (value) =>
      `<path stroke="#e4e4e4" d="M${left} ${y(value)}H${width - right}"/>${label({ x: left - 6, y: y(value), anchor: "end" }, value.toFixed(2))}`,
  );
  const ends = [1, last].map((step) =>
    label(
      { x: x(step), y: height - bottom + 14, anchor: step === last ? "end" : "middle" },
      step === last ? `step ${step}` : String(step),
    ),
  );
  return `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img"><title>Importance by step</title>${[...grid, ...ends, ...curves].join("")}</svg>`;
}

/** An SVG map of how often each block learned: a row per block, the steps from left to right, darker is more often. */
export function learningMap(history: History): string {
  const { rows } = learned(history);
  const height = history.blocks.length;
  const columns = Math.max(1, Math.min(rows.length, MOST_COLUMNS));
  const cells: string[] = [];
  for (let column = 0; column < columns; column++) {
    const [from, to] = [column, column + 1].map((at) => Math.floor((at * rows.length) / columns)) as [number, number];
    const part = rows.slice(from, to);
    for (let at = 0; at < height; at++) {
      const share = part.reduce((sum, row) => sum + (row[at] as number), 0) / (part.length || 1);
      if (share > 0)
        cells.push(`<path fill="#1b6ca8" fill-opacity="${share.toFixed(2)}" d="M${column} ${at}h1v1h-1z"/>`);
    }
  }
  return `<svg class="map" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${columns} ${height}" preserveAspectRatio="none" role="img" shape-rendering="crispEdges"><title>Blocks that learned, by step</title><rect width="${columns}" height="${height}" fill="#fff"/>${cells.join("")}</svg>`;
}

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:56rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse}th,td{padding:.15rem .75rem;border-bottom:1px solid #ddd;text-align:right}
svg{width:100%}svg.map{height:14rem;border:1px solid #ccc}svg text{font-family:system-ui,sans-serif;fill:#444}`;

/** A page that needs no other file: pictures, and the numbers at the end of the run; of the importance where it was ever compared. */
export function historyPage(history: History): string {
  const compared = history.updates.length > 0;
  return [
    `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Blocks of a run</title><style>${STYLE}</style></head>`,
    `<body><h1>Blocks of a run</h1>${compared ? `<h2>Importance</h2>${importanceChart(history)}` : ""}`,
    `<h2>Blocks that learned</h2>${learningMap(history)}`,
    `<h2>At the end</h2>${endTable(history, compared)}`,
    "</body></html>\n",
  ].join("\n");
}

function endTable(history: History, compared: boolean): string {
  const last = ({ rows }: StepByBlock): readonly number[] => rows.at(-1) as readonly number[];
  const columns = [
    // In the colour of its curve.
    {
      heading: "block",
      cells: history.blocks.map((block, at) => `<b style="color:${hue(at, history.blocks.length)}">${block}</b>`),
    },
    ...(compared
      ? [
          { heading: "importance I", cells: last(importance(history)).map((score) => score.toFixed(4)) },
          { heading: "σ(I)", cells: last(weights(history)).map((weight) => weight.toFixed(4)) },
        ]
      : []),
    { heading: "learned", cells: shares(history).map((share) => `${(100 * share).toFixed(1)} %`) },
  ];
  const heading = columns.map((column) => `<th>${column.heading}</th>`).join("");
  const body = history.blocks.map(
    (_, at) => `<tr>${columns.map(({ cells }) => `<td>${cells[at]}</td>`).join("")}</tr>`,
  );
  return `<table><thead><tr>${heading}</tr></thead><tbody>${body.join("")}</tbody></table>`;
}

/** At most 160 of the rows, evenly spaced, the first and the last among them. */
function thinned({ steps, rows }: StepByBlock): StepByBlock {
  const columns = Math.min(rows.length, MOST_COLUMNS);
  const kept = Array.from({ length: columns }, (_, i) =>
    Math.round((i * (rows.length - 1)) / Math.max(1, columns - 1)),
  );
  return { steps: kept.map((i) => steps[i] as number), rows: kept.map((i) => rows[i] as readonly number[]) };
}

/** From blue over violet to red. */
function hue(block: number, blocks: number): string {
  return `hsl(${Math.round(210 + (150 * block) / Math.max(1, blocks - 1))} 65% 45%)`;
}

function label(
  { x, y, anchor }: { readonly x: number | string; readonly y: number | string; readonly anchor: string },
  text: string,
): string {
  return `<text x="${x}" y="${y}" dy="4" font-size="11" text-anchor="${anchor}">${text}</text>`;
}
