import { modelPath } from "@peftjs/base-mini";
import { fineTune, openTextModel, registeredMethods, trainingPlan } from "@peftjs/bench";
import { float32, inputScales, quantize, widen } from "@peftjs/core";
import type { BaseModel, HostTensor, Int8Tensor, NormValues, SiteNorm } from "@peftjs/core";
import { loadTask } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";
import type { CompiledFunction } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { capture } from "./int8/capture.ts";
import type { Captured } from "./int8/capture.ts";
import {
  columnSizes,
  layerProducts,
  matrixOf,
  product,
  relativeError,
  rounded,
  roundedApart,
  scaleColumns,
  transposed,
} from "./int8/schemes.ts";
import type { LayerProducts, Matrix, Operands, RelativeError } from "./int8/schemes.ts";

/**
 * Errors of single linear layers whose weights are held in eight bits, y = x·Wᵀ and dx = dy·W, on activations and gradients of a model that
 * is being trained: prints tables of ‖y₈ − y‖/‖y‖ and ‖dx₈ − dx‖/‖dx‖ in percent for several ways of rounding x and dy, and how far the
 * engine is from the one that it is to follow, `as held`.
 *
 *   npx tsx --conditions=@peftjs/source tools/reference/src/int8Error.ts [TASK] [STEPS]
 */
const [taskName = "bshift", steps = "60"] = process.argv.slice(2);

type Round = (matrix: Matrix) => Matrix;

/** How x and dy are rounded beside a weight without factors of its inputs. `4 apart`: all but the four largest columns, by rows. */
const SCHEMES: Readonly<Record<string, Round>> = {
  "W alone": (matrix) => matrix,
  "per tensor": (matrix) => rounded(matrix, "tensor"),
  "per row": byRow,
  "4 apart": (matrix) => roundedApart(matrix, 4),
  "16 apart": (matrix) => roundedApart(matrix, 16),
};
/** By rows, with a weight as models hold it: with factors of the inputs where the layer reads a normalisation. */
const HELD = "as held";
const COLUMNS = [...Object.keys(SCHEMES), HELD];
/** Outliers made on purpose: two features of every norm are this much larger. */
const OUTLIER = 30;

type Errors = Readonly<Record<string, { readonly forward: RelativeError; readonly backward: RelativeError }>>;

interface Layer {
  readonly captured: Captured;
  readonly x: Matrix;
  readonly dy: Matrix;
  readonly weight: HostTensor;
  /** The normalisation that x comes from. */
  readonly norm: NormValues | null;
}

const engine = await createEngine({ kind: "onnx" });
const { base, batch } = await trainedModel();
const layers = (await capture(base, batch, engine)).map((captured): Layer => {
  const [weight, norm] = [parameter(captured.site.weight), captured.site.norm];
  return {
    ...{ captured, x: matrixOf(captured.x), dy: matrixOf(captured.dy), weight },
    norm: norm === undefined ? null : { weight: parameter(norm.weight).data, bias: shiftOf(norm) },
  };
});
/** y and dx of one layer, as the engine computes them in a training step. */
const step = engine.compile(({ frozen = {}, inputs = {} }) => {
  const [w, x, dy] = [frozen["w"], inputs["x"], inputs["dy"]] as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
  return { outputs: { y: tf.matMul(x, w, false, true), dx: tf.matMul(dy, w) } };
});
/** Largest distance of the engine's results from those by the scheme, relative to them. */
let farthest = 0;
const plain = await errorsOf(layers, () => 1);
const readers = layers.filter(({ norm }) => norm !== null);
const readersPlain = plain.filter((_, i) => readers.includes(layers[i] as Layer));
const outliers = await errorsOf(readers, (feature, features) =>
  feature === Math.floor(features / 3) || feature === Math.floor((2 * features) / 3) ? OUTLIER : 1,
);
await step.dispose();
print();

/** The pretrained model after some steps with LoRA on a task, and a batch that comes next. */
async function trainedModel(): Promise<{
  readonly base: BaseModel;
  readonly batch: Readonly<Record<string, HostTensor>>;
}> {
  const task = loadTask(taskName);
  const text = await openTextModel({ folder: modelPath, scheme: task, maxLength: 64, seed: 0, newHead: true });
  const { model } = await fineTune({
    ...{ text, engine, method: registeredMethods().get("lora"), methodConfig: { rank: 8, alpha: 16 } },
    ...{ train: task.train, batchSize: 16, seed: 0 },
    training: { maxSteps: Number(steps), learningRate: 2e-3, warmupRatio: 0.1 },
  });
  return {
    base: model.mergeAndUnload(),
    batch: trainingPlan(text, task.dev, { batchSize: 16, seed: 1 }).batchAt(0),
  };
}

function parameter(name: string): HostTensor {
  return widen(base.parameters.get(name) as HostTensor);
}

function shiftOf({ bias }: SiteNorm): NormValues["bias"] {
  return bias === null ? null : parameter(bias).data;
}

/** `gain`: factor of a feature of the normalisation, its γ and β, whose weights are divided by it. */
async function errorsOf(
  all: readonly Layer[],
  gain: (feature: number, features: number) => number,
): Promise<readonly Errors[]> {
  const found: Errors[] = [];
  for (const layer of all) found.push(await layerErrors(layer, (feature) => gain(feature, layer.x.columns)));
  return found;
}

async function layerErrors(layer: Layer, gain: (feature: number) => number): Promise<Errors> {
  const changed = withGain(layer, gain);
  const { x, dy, weight, norm } = changed;
  const exact = {
    forward: { left: x, right: matrixOf(weight) },
    backward: { left: dy, right: transposed(matrixOf(weight)) },
  };
  // The gradient goes on to x̂, through γ.
  const [y, dx] = [product(exact.forward), scaleColumns(product(exact.backward), gain)];
  const both = ({ forward, backward }: LayerProducts, round: Round): Errors[string] => ({
    forward: relativeError(onRounded(forward, round), y),
    backward: relativeError(scaleColumns(onRounded(backward, round), gain), dx),
  });
  const plain = layerProducts(changed, quantize(weight, { axis: 0 }));
  const factors = norm && { inputScales: inputScales(weight, { axis: 0, norm }) };
  const w = quantize(weight, { axis: 0, ...factors });
  const held = layerProducts(changed, w);
  const ours = await ofEngine(step, { x, dy, w });
  farthest = Math.max(
    farthest,
    relativeError(ours.y, onRounded(held.forward, byRow)).whole,
    relativeError(ours.dx, onRounded(held.backward, byRow)).whole,
  );
  return {
    ...Object.fromEntries(Object.entries(SCHEMES).map(([name, round]) => [name, both(plain, round)])),
    [HELD]: both(held, byRow),
  };
}

/** The same function, by other features. */
function withGain({ x, weight, norm, ...rest }: Layer, gain: (feature: number) => number): Layer {
  const { columns } = x;
  const larger = (data: HostTensor["data"]): Float32Array => Float32Array.from(data, (value, j) => value * gain(j));
  return {
    ...rest,
    x: scaleColumns(x, gain),
    weight: float32(
      Float32Array.from(weight.data, (value, i) => value / gain(i % columns)),
      weight.shape,
    ),
    norm: norm && { weight: larger(norm.weight), bias: norm.bias && larger(norm.bias) },
  };
}

function onRounded({ left, right }: Operands, round: Round): Matrix {
  return product({ left: round(left), right });
}

function byRow(matrix: Matrix): Matrix {
  return rounded(matrix, "row");
}

async function ofEngine(
  program: CompiledFunction,
  { x, dy, w }: { readonly x: Matrix; readonly dy: Matrix; readonly w: Int8Tensor },
): Promise<{ readonly y: Matrix; readonly dx: Matrix }> {
  const host = ({ rows, columns, data }: Matrix): HostTensor => float32(Float32Array.from(data), [rows, columns]);
  const { outputs = {} } = await program.run({ frozen: { w }, inputs: { x: host(x), dy: host(dy) } });
  return { y: matrixOf(outputs["y"] as HostTensor), dx: matrixOf(outputs["dx"] as HostTensor) };
}

function print(): void {
  const sizes = `x [n, in] of ${[...new Set(layers.map(({ x }) => `[${x.rows}, ${x.columns}]`))].join(", ")}`;
  console.log(`${taskName}, batch 16 after ${steps} steps with LoRA; ${sizes}. Percent, forward / backward.\n`);
  row(["layer", ...COLUMNS, "largest column"]);
  row(["---", ...COLUMNS.map(() => "---:"), "---:"]);
  for (const [i, { captured, x, dy }] of layers.entries())
    row([
      captured.site.path.replace(/^.*layer\./u, ""),
      ...cells([plain[i] as Errors], "whole"),
      `${spread(x)} / ${spread(dy)}`,
    ]);
  row(["mean", ...cells(plain, "whole"), ""]);
  row(["mean over rows", ...cells(plain, "rows"), ""]);
  console.log(`\nLayers that read a norm, as they are and with two features of it ${OUTLIER} times larger.\n`);
  row(["mean of layers", ...COLUMNS]);
  row(["---", ...COLUMNS.map(() => "---:")]);
  row(["as they are", ...cells(readersPlain, "whole")]);
  row(["as they are, over rows", ...cells(readersPlain, "rows")]);
  row(["two outliers", ...cells(outliers, "whole")]);
  row(["two outliers, over rows", ...cells(outliers, "rows")]);
  console.log(`\nThe engine's results are those as held up to ${farthest.toExponential(1)} of their norm.`);
}

function row(cells: readonly string[]): void {
  console.log(`| ${cells.join(" | ")} |`);
}

function cells(all: readonly Errors[], of: keyof RelativeError): string[] {
  const mean = (column: string, direction: "forward" | "backward"): string =>
    ((100 * all.reduce((sum, errors) => sum + (errors[column]?.[direction][of] ?? 0), 0)) / all.length).toFixed(2);
  return COLUMNS.map((column) => `${mean(column, "forward")} / ${mean(column, "backward")}`);
}

/** The largest value of the largest column over that of the median one. */
function spread(matrix: Matrix): string {
  const sorted = [...columnSizes(matrix)].sort((a, b) => a - b);
  return ((sorted.at(-1) as number) / (sorted[sorted.length >> 1] as number)).toFixed(1);
}
