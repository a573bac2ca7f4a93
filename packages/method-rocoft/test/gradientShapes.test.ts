import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createGenerator, peft } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { scratchFolders, useCpuBackend } from "@peftjs/testkit";
import { batchAt, lossProgram, tinyModel } from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { rocoft } from "../src/index.ts";
import { asTensors, attach, lossAndGradients } from "./singleLayer.ts";
import { blockRoles, whole } from "./wholeMatrix.ts";

const LINES = [
  ["row", "first"],
  ["row", "random"],
  ["column", "first"],
  ["column", "random"],
] as const;

describe("no gradient of a whole matrix is formed, eager", () => {
  beforeAll(useCpuBackend);
  const [inFeatures, outFeatures, tokens] = [13, 11, 7];
  const generator = createGenerator(1);
  const rows = (n: number, length: number): number[][] =>
    Array.from({ length: n }, () => Array.from(generator.normal(length)));

  /** Shapes of everything that is computed for the loss and its gradients. */
  async function shapesOf(settings: Readonly<Record<string, unknown>>): Promise<string[]> {
    const attached = attach(settings, { weight: rows(outFeatures, inFeatures), bias: rows(1, outFeatures)[0] ?? [] });
    const input = tf.tensor2d(rows(tokens, inFeatures));
    const start = asTensors(attached.trainable);
    const { kernels } = await tf.profile(() => Object.values(lossAndGradients(attached, input, start).gradients));
    // What is kept for the backward pass, e.g. the weight itself, is handed on without a copy.
    const computed = kernels.filter(({ name }) => name !== "Identity");
    return computed.flatMap(({ outputShapes }) => outputShapes.map(String));
  }

  it.each(LINES)("%s, %s", async (mode, select) => {
    const shapes = await shapesOf({ mode, select, rank: 2 });
    expect(shapes).toContain(mode === "row" ? "2,13" : "11,2");
    expect(shapes.filter((shape) => ["11,13", "13,11"].includes(shape))).toEqual([]);
  });

  it("the check sees one where there is one", async () => {
    expect(await shapesOf({ mode: "entries", count: 5 })).toContain("11,13");
  });
});

describe("no gradient of a whole matrix is formed, compiled", () => {
  const fresh = scratchFolders();
  /** Of the feed-forward layers: 24 tokens of 8 and of 12 features are of other shapes. */
  const WHOLE = ["8,12", "12,8"];

  /** Shapes of all matrix products of a program that computes a tiny encoder's loss and gradients, as the runtime reports them. */
  async function productsOf<Config extends object>(method: Method<Config>, settings: object): Promise<string[]> {
    const folder = fresh();
    const engine = await createEngine({ kind: "onnx", threads: 1, profilePrefix: join(folder, "profile") });
    const model = await peft(tinyModel("bert"))
      .use(method, settings as Partial<Config>)
      .apply();
    const program = lossProgram(model, engine);
    await program.run(batchAt("bert", 0));
    await program.dispose();
    const [file = ""] = readdirSync(folder);
    const events = JSON.parse(readFileSync(join(folder, file), "utf8")) as {
      readonly args?: { readonly op_name?: string; readonly output_type_shape?: readonly Record<string, number[]>[] };
    }[];
    return events.flatMap(({ args: { op_name: name = "", output_type_shape: outputs = [] } = {} }) =>
      /MatMul|Gemm/u.test(name) ? outputs.flatMap((output) => Object.values(output).map(String)) : [],
    );
  }

  it.each(LINES)("%s, %s", async (mode, select) => {
    const shapes = await productsOf(rocoft, { mode, select, rank: 2 });
    expect(shapes).toContain(mode === "row" ? "2,12" : "12,2");
    expect(shapes.filter((shape) => WHOLE.includes(shape))).toEqual([]);
  });

  it("the check sees them where they are", async () => {
    expect(await productsOf(whole, { targetRoles: blockRoles })).toEqual(expect.arrayContaining(WHOLE));
  });
});
