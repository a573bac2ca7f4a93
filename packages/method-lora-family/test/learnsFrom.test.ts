import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { int32, peft } from "@peftjs/core";
import type { ForwardOptions, HostTensor, Named, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { installMatchers, scratchFolders, tol } from "@peftjs/testkit";
import { batchAt, describeOnEngines, perturb, tinyModel } from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { lora } from "../src/index.ts";

installMatchers();

const roles = ["query", "key", "value", "attentionOutput", "ffnUp", "ffnDown"];

async function adapted({ dropout = 0, blocks = [0, 1] }): Promise<PeftModel> {
  const model = await peft(tinyModel("bert", { dropout }))
    .use(lora, { rank: 2, targetRoles: roles, layersToTransform: blocks, dropout })
    .apply();
  perturb(model);
  return model;
}

/** One program for the loss and its gradients; a parameter that the loss does not depend on has none. */
async function step(
  model: PeftModel,
  { engine, ...options }: { readonly engine: Engine } & Pick<ForwardOptions, "learnsFrom" | "recompute">,
): Promise<{ readonly loss: number; readonly gradients: Named<HostTensor> }> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch = {}, scalars = {} }) => {
    const key = scalars["key"] as tf.Tensor1D;
    const compute = (): tf.Scalar => model.loss({ frozen, trainable }, batch, { training: true, key, ...options });
    const { value, grads } = tf.engine().gradients(compute, Object.values(trainable), undefined, true);
    const found = Object.keys(trainable).flatMap((name, i) => {
      const gradient = grads[i] as tf.Tensor | undefined;
      return gradient === undefined ? [] : [[name, gradient] as const];
    });
    return { results: { loss: value as tf.Tensor }, gradients: Object.fromEntries(found) };
  });
  const { results, gradients = {} } = await program.run({
    ...{ frozen: model.frozen(), trainable: model.trainable(), batch: batchAt("bert", 0) },
    scalars: { key: int32([1, 2], [2]) },
  });
  await program.dispose();
  return { loss: results?.["loss"]?.data[0] as number, gradients };
}

describeOnEngines("from the first block that learns on", (engine) => {
  it.each([{}, { recompute: true }])("loss and gradients are those of all blocks, %j", async (options) => {
    const model = await adapted({ dropout: 0.2 });
    const all = await step(model, { engine: engine(), ...options });
    for (const learnsFrom of [1, 2]) {
      const part = await step(model, { engine: engine(), ...options, learnsFrom });
      const blocks = Array.from({ length: learnsFrom }, (_, block) => `layer.${block}.`);
      const expected = Object.keys(all.gradients).filter((name) => !blocks.some((block) => name.includes(block)));
      expect(Object.keys(part.gradients)).toEqual(expected);
      expect(expected.length).toBeLessThan(Object.keys(all.gradients).length);
      expect(part.loss).toBeAllClose(all.loss, tol.float32);
      for (const name of expected) expect(part.gradients[name]).toBeAllClose(all.gradients[name]!, tol.float32);
    }
  });
});

describe("before the first block that learns, compiled", () => {
  const fresh = scratchFolders();

  interface Profiled extends Pick<ForwardOptions, "learnsFrom" | "recompute"> {
    /** Blocks with adapters. */
    readonly blocks?: number[];
  }

  /** Matrix products that a step runs, as the runtime reports them. */
  async function productsOf({ blocks = [0, 1], ...options }: Profiled): Promise<number> {
    const folder = fresh();
    const engine = await createEngine({ kind: "onnx", threads: 1, profilePrefix: join(folder, "profile") });
    await step(await adapted({ blocks }), { engine, ...options });
    const [file = ""] = readdirSync(folder);
    const events = JSON.parse(readFileSync(join(folder, file), "utf8")) as {
      readonly args?: { readonly op_name?: string };
    }[];
    return events.filter(({ args }) => /MatMul|Gemm/u.test(args?.op_name ?? "")).length;
  }

  it("nothing is run for the backward pass: two products more in each layer than without adapters there", async () => {
    const all = await productsOf({});
    const second = await productsOf({ learnsFrom: 1 });
    expect(second).toBe((await productsOf({ blocks: [1] })) + 2 * roles.length);
    expect(second).toBeLessThan(all - 2 * roles.length);
    const none = await productsOf({ learnsFrom: 2 });
    expect(none).toBeLessThan(second - 2 * roles.length);
    expect(await productsOf({ learnsFrom: 2, recompute: true })).toBe(none);
  });
});
