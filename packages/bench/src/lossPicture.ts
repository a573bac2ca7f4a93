import type { FrozenPair } from "./frozenPairs.ts";
import { unique } from "./cells.ts";

const PANEL = { width: 260, height: 150, left: 36, right: 8, top: 22, bottom: 14 };
const KEY_HEIGHT = 24;
const EXACT = `stroke="#1b6ca8" stroke-width="1.5"`;
/** Dashed, so that the other curve is seen where both are the same. */
const HELD = `stroke="#d1495b" stroke-width="1.5" stroke-dasharray="4 3"`;

/**
 * An SVG picture of the training losses of pairs that have them, null without any: a panel for each pair, one row of panels for each row of
 * the table on each task, its seeds beside each other on the same scale.
 */
export function lossPicture(pairs: readonly FrozenPair[]): string | null {
  const drawn = pairs.filter(({ exact, held }) => exact.losses !== undefined && held.losses !== undefined);
  if (drawn.length === 0) return null;
  const groups = unique(drawn.map(groupOf)).map((group) => drawn.filter((pair) => groupOf(pair) === group));
  const width = PANEL.width * Math.max(...groups.map((group) => group.length));
  const height = KEY_HEIGHT + PANEL.height * groups.length;
  const panels = groups.flatMap((group, row) =>
    group.map((pair, column) => {
      const at = `translate(${column * PANEL.width} ${KEY_HEIGHT + row * PANEL.height})`;
      return `<g transform="${at}">${panel(pair, scaleOf(group))}</g>`;
    }),
  );
  const key = [
    `<path ${EXACT} d="M${PANEL.left} 12h24"/>${label({ x: PANEL.left + 30, y: 12, anchor: "start" }, "float32")}`,
    `<path ${HELD} d="M${PANEL.left + 90} 12h24"/>${label({ x: PANEL.left + 120, y: 12, anchor: "start" }, "as the row says")}`,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui,sans-serif" role="img"><title>Training loss</title><rect width="${width}" height="${height}" fill="#fff"/>${[...key, ...panels].join("")}</svg>\n`;
}

function groupOf({ held }: FrozenPair): string {
  return `${held.task} ${held.method}`;
}

interface Scale {
  readonly low: number;
  readonly high: number;
}

function scaleOf(group: readonly FrozenPair[]): Scale {
  const values = group.flatMap(({ exact, held }) => [...(exact.losses ?? []), ...(held.losses ?? [])]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return { low, high: high > low ? high : low + 1 };
}

function panel({ exact, held }: FrozenPair, { low, high }: Scale): string {
  const { width, height, left, right, top, bottom } = PANEL;
  const y = (value: number): string => (top + ((height - top - bottom) * (high - value)) / (high - low)).toFixed(1);
  const grid = [low, high].map(
    (value) =>
      `<path stroke="#e4e4e4" d="M${left} ${y(value)}H${width - right}"/>${label({ x: left - 4, y: y(value), anchor: "end" }, value.toFixed(2))}`,
  );
  const curve = (losses: readonly number[], style: string): string => {
    const x = (point: number): string =>
      (left + ((width - left - right) * point) / Math.max(1, losses.length - 1)).toFixed(1);
    return `<polyline fill="none" ${style} points="${losses.map((loss, point) => `${x(point)},${y(loss)}`).join(" ")}"/>`;
  };
  const title = label({ x: left, y: 12, anchor: "start" }, `${held.method} · ${held.task} · seed ${held.seed}`);
  return [title, ...grid, curve(exact.losses ?? [], EXACT), curve(held.losses ?? [], HELD)].join("");
}

function label(
  { x, y, anchor }: { readonly x: number; readonly y: number | string; readonly anchor: string },
  text: string,
): string {
  const safe = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}" dy="4" font-size="11" fill="#444" text-anchor="${anchor}">${safe}</text>`;
}
