import type { HostMatrix } from "@peftjs/core";

/** Blue for negative, white for zero, red for positive: 2·LEVELS + 1 colours. */
const LEVELS = 16;
/** Cells along an edge of a heat map; larger matrices are averaged to as many. */
const MOST_CELLS = 64;
const CURVE_COLOURS = ["#1b6ca8", "#d1495b", "#2e8b57", "#b8860b", "#7a4fa3", "#444444", "#00868b", "#c45c9a"];

/**
 * An SVG heat map of a matrix. Colours go with ±√(|value| / largest), so that one large entry does not leave all others white; what is
 * larger than 64 × 64 is averaged.
 */
export function heatMap(values: HostMatrix, title: string): string {
  const { rows, columns, data } = averaged(values);
  const peak = largest(Array.from(data, Math.abs)) || 1;
  const paths = new Map<number, string>();
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns;) {
      const level = levelOf(data[i * columns + j] as number, peak);
      let end = j + 1;
      while (end < columns && levelOf(data[i * columns + end] as number, peak) === level) end++;
      // White is the ground.
      if (level !== 0) paths.set(level, `${paths.get(level) ?? ""}M${j} ${i}h${end - j}v1h${j - end}z`);
      j = end;
    }
  }
  const cells = [...paths].map(([level, path]) => `<path fill="${colourOf(level)}" d="${path}"/>`);
  return [
    `<svg class="map" viewBox="0 0 ${columns} ${rows}" role="img" shape-rendering="crispEdges">`,
    `<title>${escapeHtml(title)}</title><rect width="${columns}" height="${rows}" fill="#fff"/>${cells.join("")}</svg>`,
  ].join("");
}

function levelOf(value: number, peak: number): number {
  return Math.round(LEVELS * Math.sign(value) * Math.sqrt(Math.abs(value) / peak));
}

function colourOf(level: number): string {
  const fade = Math.round(255 * (1 - Math.abs(level) / LEVELS));
  return level > 0 ? `rgb(255,${fade},${fade})` : `rgb(${fade},${fade},255)`;
}

/** Means of blocks of cells, at most 64 × 64. */
function averaged({ rows, columns, data }: HostMatrix): HostMatrix {
  const [height, width] = [Math.min(rows, MOST_CELLS), Math.min(columns, MOST_CELLS)];
  const sums = new Float64Array(height * width);
  const counts = new Float64Array(height * width);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const at = Math.floor((i * height) / rows) * width + Math.floor((j * width) / columns);
      sums[at] = (sums[at] as number) + (data[i * columns + j] as number);
      counts[at] = (counts[at] as number) + 1;
    }
  }
  return { rows: height, columns: width, data: sums.map((sum, at) => sum / (counts[at] as number)) };
}

/** 0 without values, and for none above it. */
function largest(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), 0);
}

export interface Curve {
  readonly name: string;
  readonly values: ArrayLike<number>;
}

const CHART = { width: 640, height: 300, left: 52, right: 12, top: 12, bottom: 36, keyHeight: 18 };

/** An SVG chart of curves over 1, 2, …, on a logarithmic scale over at most eight decades; values below are left out. */
export function logChart(curves: readonly Curve[], { x, y }: { readonly x: string; readonly y: string }): string {
  const positive = curves.flatMap(({ values }) => Array.from(values).filter((value) => value > 0));
  const top = Math.ceil(Math.log10(largest(positive) || 1) - 1e-9);
  const least = Math.floor(-Math.log10(largest(positive.map((value) => 1 / value)) || 10));
  const bottom = Math.max(Math.min(least, top - 1), top - 8);
  const longest = Math.max(2, largest(curves.map(({ values }) => values.length)));
  const { width, height, left, right, top: above, bottom: below, keyHeight } = CHART;
  const atX = (i: number): string => (left + ((width - left - right) * i) / (longest - 1)).toFixed(1);
  const atY = (value: number): string =>
    (above + ((height - above - below) * (top - Math.log10(value))) / (top - bottom)).toFixed(1);
  const grid = Array.from({ length: top - bottom + 1 }, (_, i) => {
    const at = atY(10 ** (bottom + i));
    return `<path stroke="#e4e4e4" d="M${left} ${at}H${width - right}"/>${label({ x: left - 6, y: at, anchor: "end" }, `1e${bottom + i}`)}`;
  });
  const ends = [0, longest - 1].map((i) =>
    label({ x: atX(i), y: height - below + 14, anchor: "middle" }, String(i + 1)),
  );
  const title = label({ x: (left + width - right) / 2, y: height - 12, anchor: "middle" }, x);
  const lines = curves.map(({ name, values }, k) => {
    const shown = [...Array.from(values).entries()].filter(([, value]) => value >= 10 ** bottom);
    const points = shown.map(([i, value]) => `${atX(i)},${atY(value)}`).join(" ");
    const colour = CURVE_COLOURS[k % CURVE_COLOURS.length];
    const key = height + keyHeight * (k + 0.5);
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points}"/><path stroke="${colour}" stroke-width="3" d="M${left} ${key}h16"/>${label({ x: left + 24, y: key, anchor: "start" }, name)}`;
  });
  return `<svg class="chart" viewBox="0 0 ${width} ${height + keyHeight * curves.length}" role="img"><title>${escapeHtml(y)}</title>${[...grid, ...ends, title, ...lines].join("")}</svg>`;
}

function label(
  { x, y, anchor }: { readonly x: number | string; readonly y: number | string; readonly anchor: string },
  text: string,
): string {
  return `<text x="${x}" y="${y}" dy="4" font-size="11" text-anchor="${anchor}">${escapeHtml(text)}</text>`;
}

/** An HTML table; the first row is the heading. */
export function htmlTable(rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: "th" | "td"): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  const [heading = [], ...body] = rows;
  return `<table><thead>${row(heading, "th")}</thead><tbody>${body.map((cells) => row(cells, "td")).join("")}</tbody></table>`;
}

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .75rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}figure{display:inline-block;margin:.5rem 1rem .5rem 0;width:15rem}figcaption{font-size:13px}
svg.map{width:100%;border:1px solid #ccc}svg.chart{width:100%;max-width:48rem}svg text{font-family:system-ui,sans-serif;fill:#444}`;

/** A page that needs no other file. `body` is HTML. */
export function htmlPage(title: string, body: string): string {
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title><style>${STYLE}</style></head>\n<body><h1>${escapeHtml(title)}</h1>\n${body}\n</body></html>\n`;
}

export function escapeHtml(text: string): string {
  const names: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replaceAll(/[&<>"]/gu, (character) => names[character] as string);
}
