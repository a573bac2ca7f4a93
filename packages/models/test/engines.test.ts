import { readFileSync } from "node:fs";
import { createEngine, type EngineOptions, type TensorFunction } from "@peftjs/engine";
import { float32, int32, type BaseModel, type Head, type HostTensor } from "@peftjs/core";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { architectureOf, builtInArchitectures, createModel } from "../src/index.ts";
import { lossAndGradientTensors, ownNames, plainForward, withAliases } from "./support/plainForward.ts";
import { deterministicWeights } from "./support/weights.ts";

interface Case {
  readonly family: string;
  readonly config: Record<string, unknown>;
  readonly head: Head["kind"];
  readonly batch: Readonly<Record<string, number[][]>>;
  readonly labels?: number[] | number[][];
  readonly nextSentence?: number[];
  readonly loss?: number;
  readonly outputs: Readonly<Record<string, string>>;
  readonly gradients?: Readonly<Record<string, string>>;
}

const fixture = JSON.parse(
  readFileSync(new URL("../../../fixtures/models/encoders.json", import.meta.url), "utf8"),
) as { cases: Case[] };
const engines: readonly EngineOptions[] = [eagerEngine, { kind: "eager", backend: "wasm" }, compiledEngine];

/** Largest difference, in units of the reference's largest value. */
const RELATIVE = 1e-5;
/**
 * Pre-LN divides by the small deviations of a tiny model's first blocks, which multiplies float32's rounding: equal formulas in other
 * orders of operations differ by 0.6e-5 to 1.3e-5 there. (And tfjs's own erf is a polynomial with an error of 1.5e-7.)
 */
const RELATIVE_PRE_NORM = 2e-5;

function unpack(text: string): Float32Array {
  return new Float32Array(new Uint8Array(Buffer.from(text, "base64")).buffer);
}

function largestOf(values: Float32Array): number {
  return values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}

/** The keys' bias shifts all scores of a row alike: its gradient vanishes but for rounding, so the weight's gives the scale. */
function scaleOf(name: string, gradients: Readonly<Record<string, string>>): number {
  const weight = name.endsWith(".key.bias") ? gradients[name.replace(/bias$/, "weight")] : undefined;
  return weight === undefined ? 0 : largestOf(unpack(weight));
}

function expectClose(
  name: string,
  actual: HostTensor | undefined,
  packed: string,
  { scale = 0, relative }: { scale?: number; relative: number },
): void {
  const expected = unpack(packed);
  const values = actual?.data ?? new Float32Array();
  expect(values.length, name).toBe(expected.length);
  const largest = Math.max(scale, largestOf(expected));
  const difference = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - (values[i] as number))), 0);
  expect(difference / largest, `${name}: difference ${difference}, largest ${largest}`).toBeLessThan(relative);
}

function modelOf({ config, head: kind }: Case): BaseModel {
  const head: Head = kind === "sequenceClassification" ? { kind, labels: ["a", "b", "c"] } : { kind };
  const architecture = architectureOf(config, builtInArchitectures);
  const parameters = deterministicWeights(architecture.parameters(architecture.parseConfig(config), head));
  return createModel({ architecture, configJson: config, head, name: "tiny", parameters });
}

function batchOf({ batch, labels, nextSentence, head }: Case): Record<string, HostTensor> {
  const int = (rows: number[][]): HostTensor => int32(rows.flat(), [rows.length, rows[0]?.length ?? 0]);
  const tensors = Object.fromEntries(Object.entries(batch).map(([name, rows]) => [name, int(rows)]));
  if (labels === undefined) return tensors;
  if (nextSentence !== undefined) {
    return {
      ...tensors,
      ...predicted(labels as number[][], 0),
      next_sentence_label: int32(nextSentence, [nextSentence.length]),
    };
  }
  if (head === "regression") return { ...tensors, labels: float32(labels as number[], [labels.length]) };
  return {
    ...tensors,
    labels: head === "maskedLM" ? int(labels as number[][]) : int32(labels as number[], [labels.length]),
  };
}

/** The positions of labels that count, and `padding` entries of weight zero. */
function predicted(labels: number[][], padding: number): Record<string, HostTensor> {
  const flat = labels.flat();
  const positions = [...flat.keys()].filter((i) => (flat[i] as number) >= 0);
  const count = positions.length + padding;
  const padded = (values: number[]): number[] => [...values, ...Array.from({ length: padding }, () => 0)];
  return {
    masked_positions: int32(padded(positions), [count]),
    masked_labels: int32(padded(positions.map((i) => flat[i] as number)), [count]),
    masked_weights: float32(padded(positions.map(() => 1)), [count]),
  };
}

/** The same masked-LM batch with the predicted positions named, and one padding entry of weight zero. */
function atPositions(example: Case): Record<string, HostTensor> {
  const { labels: _labels, ...rest } = batchOf(example);
  return { ...rest, ...predicted(example.labels as number[][], 1) };
}

/** Outputs, and loss and gradients where there is a loss, in one tensor function. */
function withGradients(model: BaseModel): TensorFunction {
  return ({ parameters = {}, batch = {} }) => {
    const outputs = model.forward(plainForward(withAliases(model, parameters), model.sites), batch);
    if (batch["labels"] === undefined && batch["masked_labels"] === undefined) return { outputs };
    const { loss, gradients } = lossAndGradientTensors(model, parameters, batch);
    return { outputs, loss: { loss }, gradients };
  };
}

async function runCase(options: EngineOptions, example: Case, batch: Readonly<Record<string, HostTensor>>) {
  const model = modelOf(example);
  const compiled = (await createEngine(options)).compile(withGradients(model));
  try {
    const own = Object.fromEntries(ownNames(model).map((name) => [name, model.parameters.get(name) as HostTensor]));
    return await compiled.run({ parameters: own, batch });
  } finally {
    await compiled.dispose();
  }
}

function expectLossAndGradients(results: Awaited<ReturnType<typeof runCase>>, example: Case, relative: number): void {
  if (example.loss === undefined || example.gradients === undefined) throw new Error("The fixture has no loss.");
  expect(Math.abs((results["loss"]?.["loss"]?.data[0] as number) / example.loss - 1)).toBeLessThan(RELATIVE);
  expect(Object.keys(results["gradients"] ?? {}).sort()).toEqual(Object.keys(example.gradients).sort());
  for (const [name, packed] of Object.entries(example.gradients)) {
    expectClose(name, results["gradients"]?.[name], packed, { relative, scale: scaleOf(name, example.gradients) });
  }
}

describe.each(engines)("engine $kind $backend", (options) => {
  const tolerance = (example: Case): number =>
    example.family === "roberta-prelayernorm" ? RELATIVE_PRE_NORM : RELATIVE;

  it.each(fixture.cases)(
    "$family, $head: outputs and all gradients equal those of the Python library",
    async (example) => {
      const results = await runCase(options, example, batchOf(example));
      for (const [name, packed] of Object.entries(example.outputs)) {
        expectClose(name, results["outputs"]?.[name], packed, { relative: tolerance(example) });
      }
      if (example.loss !== undefined) expectLossAndGradients(results, example, tolerance(example));
    },
  );

  it.each(fixture.cases.filter(({ head }) => head === "maskedLM"))(
    "$family: masked positions alone give the same loss and gradients",
    async (example) => {
      const results = await runCase(options, example, atPositions(example));
      expect(results["outputs"]?.["logits"]?.shape).toEqual([4, 20]);
      expectLossAndGradients(results, example, tolerance(example));
    },
  );
});
