import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { registerGradients } from "../src/gradients/register.ts";
import { BLOCKS } from "../src/onnx/kernels/blocks.ts";
import { ELEMENTWISE } from "../src/onnx/kernels/elementwise.ts";
import { EXCLUDED } from "../src/onnx/kernels/excluded.ts";
import { GENERATING } from "../src/onnx/kernels/generating.ts";
import { INDEXING } from "../src/onnx/kernels/indexing.ts";
import { MATMUL } from "../src/onnx/kernels/matmul.ts";
import { ORDERING } from "../src/onnx/kernels/ordering.ts";
import { PADDING } from "../src/onnx/kernels/padding.ts";
import { REDUCTIONS } from "../src/onnx/kernels/reduction.ts";
import { KERNELS } from "../src/onnx/kernels/registry.ts";
import { SCATTERING } from "../src/onnx/kernels/scattering.ts";
import { STRUCTURE } from "../src/onnx/kernels/structure.ts";
import { ELEMENTWISE_CASES } from "./kernels/cases/elementwise.ts";
import { INDEXING_CASES } from "./kernels/cases/indexing.ts";
import { PRODUCT_CASES } from "./kernels/cases/products.ts";
import { REDUCTION_CASES } from "./kernels/cases/reduction.ts";
import { STRUCTURE_CASES } from "./kernels/cases/structure.ts";

/** tfjs-core's own list of kernel names. */
const list = readFileSync(createRequire(import.meta.url).resolve("@tensorflow/tfjs-core/dist/kernel_names.js"), "utf8");
const names = Array.from(list.matchAll(/^export const \w+ = '(\w+)';/gm), ([, name]) => name as string);

describe("coverage of tfjs's kernels", () => {
  it("reads the whole list", () => {
    expect(names).toEqual(expect.arrayContaining(["Abs", "BatchMatMul", "FFT", "Step", "_FusedMatMul"]));
    expect(names.length).toBe(list.match(/^export const /gm)?.length);
  });

  it("compiles every kernel that is not excluded", () => {
    expect(names.filter((name) => !KERNELS.has(name) && !EXCLUDED.has(name))).toEqual([]);
  });

  it("excludes no kernel that it compiles, and none that tfjs does not have", () => {
    expect(names.filter((name) => KERNELS.has(name) && EXCLUDED.has(name))).toEqual([]);
    expect([...EXCLUDED.keys()].filter((name) => !names.includes(name))).toEqual([]);
  });

  const cases = [ELEMENTWISE_CASES, INDEXING_CASES, PRODUCT_CASES, REDUCTION_CASES, STRUCTURE_CASES].flat();
  const compared = new Set(cases.map(({ kernel }) => kernel));

  it("compares every kernel with tfjs's", () => {
    const here = [
      ...[ELEMENTWISE, REDUCTIONS, STRUCTURE, PADDING, BLOCKS],
      ...[GENERATING, ORDERING, SCATTERING, INDEXING, MATMUL],
    ].flat();
    const missing = here.map(({ name }) => name).filter((name) => names.includes(name) && !compared.has(name));
    // tf.broadcastTo runs Tile: BroadcastTo is made by simplification alone.
    expect(missing).toEqual(["BroadcastTo"]);
  });

  it("compares every gradient with tfjs's", () => {
    registerGradients();
    const differentiated = new Set(cases.filter(({ gradient }) => gradient !== undefined).map(({ kernel }) => kernel));
    const missing = [...compared].filter((name) => tf.getGradient(name) !== undefined && !differentiated.has(name));
    // These take whole numbers and truth values only, or search: nothing to differentiate.
    expect(missing.sort()).toEqual([
      "All",
      "Any",
      "BitwiseAnd",
      "LogicalAnd",
      "LogicalNot",
      "LogicalOr",
      "OneHot",
      "SearchSorted",
    ]);
  });
});
