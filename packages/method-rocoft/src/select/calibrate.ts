import { PeftError, rowCounter, widen } from "@peftjs/core";
import type { CalibrateContext, Calibration, HostTensor, LayerSite, LayerValues, Named } from "@peftjs/core";
import { rocoftSiteConfig, selectionOf, type RocoftConfig } from "../config.ts";
import { type ChosenCoordinates, selectedCount } from "./indices.ts";
import { chooseByScore, normsOf, scoresOf, type ScoreKind, type ScoreSelection } from "./scores.ts";

/**
 * The rows, columns or entries of every layer with the highest, the lowest, or half of each score on the caller's batches (`select`:
 * "max", "min", "mixed"); nothing for other selections. One pass of the base model in evaluation over the batches, tokens without
 * attention left out; memory does not grow with their number.
 * @throws PeftError `CALIBRATION_DATA_MISSING` without batches, or without a token in them; `CALIBRATION_NOT_FINITE`.
 */
export async function scoreSelection(
  context: Pick<
    CalibrateContext<RocoftConfig>,
    "model" | "sites" | "config" | "batches" | "layerInputs" | "layerOutputs"
  >,
): Promise<Calibration<RocoftConfig>> {
  const { config, model } = context;
  const selection = selectionOf(config);
  if (!isByScore(selection)) return {};
  const kind = kindOf(config);
  const norms = await normsOnBatches(context, { kind, selection });
  const chosen = new Map<string, Int32Array>();
  for (const site of context.sites) {
    const stored = model.parameters.get(site.weight) as NonNullable<ReturnType<typeof model.parameters.get>>;
    const scores = scoresOf(kind, { ...site, values: widen(stored).data }, norms.get(site.path) as Float64Array);
    requireFinite(scores, site);
    const k = selectedCount({ site, config: rocoftSiteConfig({ site, config }) });
    chosen.set(site.path, chooseByScore(scores, k, selection));
  }
  return { values: chosen satisfies ChosenCoordinates };
}

function isByScore(selection: string): selection is ScoreSelection {
  return selection === "max" || selection === "min" || selection === "mixed";
}

function kindOf({ mode, rowScore }: RocoftConfig): ScoreKind {
  if (mode !== "row") return mode;
  return rowScore === "source" ? "rowSource" : "rowWanda";
}

type Batches = Pick<CalibrateContext<RocoftConfig>, "sites" | "batches" | "layerInputs" | "layerOutputs">;

/** √Σ x² over the tokens of all batches, per input or per output of each layer, by path. The sums are float64. */
export async function normsOnBatches(
  { sites, batches, layerInputs, layerOutputs }: Batches,
  { kind, selection }: { readonly kind: ScoreKind; readonly selection: ScoreSelection },
): Promise<ReadonlyMap<string, Float64Array>> {
  const look = normsOf(kind) === "input" ? layerInputs : layerOutputs;
  const sums = new Map<string, Float64Array>();
  let seen = false;
  for (const batch of batches ?? []) {
    const squares = squaresOf(await look(batch), batch);
    for (const { path } of sites) {
      const { sum, rows } = squares.get(path) as Squares;
      const total = sums.get(path) ?? new Float64Array(sum.length);
      sum.forEach((value, i) => (total[i] = (total[i] as number) + value));
      sums.set(path, total);
      seen ||= rows > 0;
    }
  }
  if (!seen && sites.length > 0) throw noData(selection, batches);
  for (const total of sums.values()) total.forEach((value, i) => (total[i] = Math.sqrt(value)));
  return sums;
}

interface Squares {
  /** Σ x² per feature. */
  readonly sum: Float64Array;
  /** How many rows counted. */
  readonly rows: number;
}

/** Layers that share their tensor share the sums. */
function squaresOf(layers: LayerValues, batch: Named<HostTensor>): ReadonlyMap<string, Squares> {
  const known = new Map<HostTensor, Squares>();
  return new Map(
    [...layers].map(([path, tensor]) => {
      const squares = known.get(tensor) ?? sumOfSquares(tensor, batch);
      known.set(tensor, squares);
      return [path, squares];
    }),
  );
}

function sumOfSquares({ data, shape }: HostTensor, batch: Named<HostTensor>): Squares {
  const [n, features] = shape as readonly [number, number];
  const counts = rowCounter(n, batch);
  const sum = new Float64Array(features);
  let rows = 0;
  for (let row = 0; row < n; row++) {
    if (!counts(row)) continue;
    rows++;
    for (let j = 0; j < features; j++) {
      const value = data[row * features + j] as number;
      sum[j] = (sum[j] as number) + value * value;
    }
  }
  return { sum, rows };
}

function requireFinite(scores: Float64Array, { path }: LayerSite): void {
  const bad = scores.findIndex((score) => !Number.isFinite(score));
  if (bad < 0) return;
  throw new PeftError(
    "CALIBRATION_NOT_FINITE",
    `Score ${bad} of "${path}" is ${String(scores[bad])}, so that nothing can be chosen by it. ` +
      "The base model overflows on these batches: check its weights, or choose indices without data (select).",
  );
}

function noData(selection: ScoreSelection, batches: unknown): PeftError {
  const got = batches === null ? "got no batches" : "the batches it got hold no token";
  return new PeftError(
    "CALIBRATION_DATA_MISSING",
    `select: "${selection}" looks at data before training starts, but ${got}. Pass apply({ batches, runner: engine }) an array of batches ` +
      'like those of training, or choose without data, e.g. select: "first".',
  );
}
