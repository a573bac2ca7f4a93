import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { added, fill, measured, multiplied, tensors, tinyModel, trainsAll } from "../test/tiny.ts";
import { defineMethod, PeftModel } from "./index.ts";

installMatchers();

const IDS = tf.tensor2d(
  [
    [0, 1, 2],
    [4, 3, 3],
    [1, 1, 4],
    [2, 0, 3],
  ],
  [4, 3],
  "int32",
);

/** Adapters of three methods with heads, an embedding, and trained rows of their own. */
async function several(): Promise<PeftModel> {
  const model = new PeftModel(tinyModel(7, { readsTied: false }));
  await model.attach({ name: "plus", method: added, config: { trainableTokenIndices: [1, 3] }, seed: 1 });
  await model.attach({ name: "times", method: multiplied, config: { targetModules: ["value", "query", "embed"] } });
  const config = { targetModules: ["query"], modulesToSave: [], trainableTokenIndices: [1] };
  await model.attach({ name: "own", method: measured, config });
  for (const [i, name] of [...model.adapters.keys()].entries()) {
    model.setActive(name);
    fill(model, 20 + i);
  }
  return model;
}

function run(model: PeftModel, ids: tf.Tensor, extra: Record<string, tf.Tensor> = {}): number[] {
  return tf.tidy(() => {
    const given = { frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) };
    const outputs = model.forward(given, { input_ids: ids, ...extra }, { training: false });
    return [...(outputs["logits"] as tf.Tensor).dataSync()];
  });
}

const indexOf = (model: PeftModel, names: readonly string[]): { adapter_index: tf.Tensor } => {
  const { data, shape } = model.adapterIndex(names);
  return { adapter_index: tf.tensor(data, [...shape], "int32") };
};

describe("a mixed batch", () => {
  it("computes each row as its adapter alone does, heads and embeddings included", async () => {
    const model = await several();
    const names = ["plus", "times", "own"];
    const rowsOf = (name: string): number[] => {
      if (name === "__base__") return model.disable(() => run(model, IDS));
      model.setActive(name);
      return run(model, IDS);
    };
    const alone = Object.fromEntries([...names, "__base__"].map((name) => [name, rowsOf(name)]));
    model.setActive(names, { mixed: true });
    expect(model.trainable()).toEqual({});
    const { structure } = model;
    const frozen = model.frozen();
    for (const assignment of [
      ["plus", "times", "own", "__base__"],
      ["own", "own", "plus", "plus"],
      ["__base__", "__base__", "__base__", "__base__"],
    ]) {
      const expected = assignment.flatMap((name, row) => (alone[name] as number[]).slice(2 * row, 2 * row + 2));
      expect(run(model, IDS, indexOf(model, assignment))).toBeAllClose(expected, { absolute: 1e-6, relative: 1e-6 });
    }
    expect(model.structure).toBe(structure);
    expect(model.frozen()).toBe(frozen);
    // The rows do differ.
    expect(alone["plus"]).not.toBeAllClose(alone["own"] as number[], { absolute: 0.1, relative: 0 });
    model.setActive("plus");
    expect(run(model, IDS)).toBeAllClose(alone["plus"] as number[], tol.exact);
  });

  it("computes the base product of a layer once", async () => {
    const model = new PeftModel(tinyModel());
    for (const name of ["a", "b", "c"])
      await model.attach({ name, method: added, config: { targetModules: ["layer.0.query"], modulesToSave: [] } });
    const products = async (names?: readonly string[]): Promise<number> => {
      const work = (): tf.Tensor => tf.tensor(run(model, IDS, names === undefined ? {} : indexOf(model, names)));
      const { kernelNames, kernels } = await tf.profile(work);
      expect(kernelNames).toContain("BatchMatMul");
      return kernels.filter(({ name }) => name === "BatchMatMul").length;
    };
    model.setActive("a");
    const one = await products();
    model.setActive(["a", "b", "c"], { mixed: true });
    // Two products more for each of the two further adapters, and none of the base.
    expect(await products(["a", "b", "c", "a"])).toBe(one + 4);
  });

  it("mixes adapters that could not be active together", async () => {
    const single = defineMethod({ ...added, capabilities: { ...added.capabilities, multiAdapter: false } });
    const model = new PeftModel(tinyModel());
    for (const name of ["a", "b"]) await model.attach({ name, method: single });
    expect(() => model.setActive(["a", "b"])).toThrow(expect.objectContaining({ code: "ADAPTER_CONFLICT" }));
    expect(() => model.setActive(["a", "b"], { mixed: true })).not.toThrow();
  });

  it("refuses parameters that differ outside of layers", async () => {
    const tied = new PeftModel(tinyModel());
    await tied.attach({ name: "all", method: trainsAll() });
    tied.setActive(["all"], { mixed: true });
    expect(() => run(tied, IDS, indexOf(tied, ["all", "all", "all", "all"]))).toThrow(
      /The adapter "all" has a "decoder.weight" of its own/u,
    );
  });

  it("refuses training, merging, unknown and inactive names, and batches that do not fit", async () => {
    const model = await several();
    model.setActive(["plus", "times"], { mixed: true });
    const index = indexOf(model, ["plus", "times", "plus", "times"]);
    const unsupported = expect.objectContaining({ code: "MIXED_UNSUPPORTED" }) as Error;
    const tensorsOf = { frozen: tensors(model.frozen()), trainable: {} };
    expect(() => model.forward(tensorsOf, { input_ids: IDS, ...index }, { training: true })).toThrow(unsupported);
    expect(() => model.merge()).toThrow(unsupported);
    expect(() => run(model, IDS)).toThrow(/no adapter_index/u);
    expect(() => run(model, IDS, { ...index, masked_positions: tf.tensor1d([1], "int32") })).toThrow(unsupported);
    expect(() => run(model, IDS, indexOf(model, ["plus", "times", "plus", "times", "plus"]))).toThrow(
      /has 12 rows, which cannot be divided among the 5 rows/u,
    );
    expect(() => model.disable(() => run(model, IDS, index))).toThrow(unsupported);
    expect(() => model.adapterIndex(["plus", "own"])).toThrow(expect.objectContaining({ code: "ADAPTER_INACTIVE" }));
    expect(() => model.adapterIndex(["pluss"])).toThrow(/Did you mean "plus"/u);
    expect([...model.adapterIndex(["times", "__base__", "plus"]).data]).toEqual([1, -1, 0]);
    model.setActive(["plus", "own"]);
    expect(() => run(model, IDS, index)).toThrow(/setActive\(names, \{ mixed: true \}\)/u);
    model.merge();
    expect(() => model.setActive(["plus", "own"], { mixed: true })).toThrow(
      expect.objectContaining({ code: "ADAPTER_MERGED" }),
    );
  });
});
