import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { added, BATCH, fill, tensors, tinyModel, type AddedConfig } from "../test/tiny.ts";
import { defineMethod, PeftModel, type BaseModel } from "./index.ts";

installMatchers();

/** The tiny model with its two blocks marked as such. */
function withBlocks(): BaseModel {
  const base = tinyModel(7, { readsTied: false });
  return {
    ...base,
    forward(f, batch) {
      const x = f.embedding("body.embed", batch["input_ids"] as tf.Tensor);
      const first = f.block("body.layer.0", [x], (input) => tf.tanh(f.linear("body.layer.0.query", input)));
      const second = f.block("body.layer.1", [first], (input) =>
        f.dropout(tf.add(f.linear("body.layer.1.query", input), f.linear("body.layer.1.value", input)), 0.5),
      );
      return { logits: f.linear("classifier", tf.mean(second, 1)) };
    },
  };
}

interface Outcome {
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Float32Array>>;
  /** Operations that the backward pass goes through, and tensors that are kept for it. */
  readonly recorded: number;
  readonly kept: number;
}

function step(model: PeftModel, options: { readonly learnsFrom?: number; readonly recompute?: boolean }): Outcome {
  return tf.tidy(() => {
    const [frozen, trainable] = [tensors(model.frozen()), tensors(model.trainable())];
    const key = tf.tensor1d([1, 2], "int32");
    const counts = { recorded: 0, kept: 0 };
    const compute = (): tf.Scalar => {
      const before = tf.memory().numTensors;
      // Without a scope of its own everything would count as kept until the tape is gone.
      const loss = tf.tidy(() => model.loss({ frozen, trainable }, BATCH, { training: true, key, ...options }));
      counts.recorded = tf.engine().state.activeTape?.length ?? 0;
      counts.kept = tf.memory().numTensors - before;
      return loss;
    };
    const { value, grads } = tf.engine().gradients(compute, Object.values(trainable), undefined, true);
    const found = Object.keys(trainable).flatMap((name, i) => {
      const gradient = grads[i] as tf.Tensor | undefined;
      return gradient === undefined ? [] : [[name, gradient.dataSync().slice() as Float32Array] as const];
    });
    return { ...counts, loss: value.dataSync()[0] as number, gradients: Object.fromEntries(found) };
  });
}

async function adapted(method = added): Promise<PeftModel> {
  const model = new PeftModel(withBlocks());
  await model.attach({
    method,
    config: { targetModules: ["query", "value"], trainableTokenIndices: [1, 3], dropout: 0.3 },
    seed: 1,
  });
  fill(model, 3);
  return model;
}

describe("learnsFrom", () => {
  it.each([{}, { recompute: true }])(
    "changes no gradient from the first block that learns on, and there is none before it, %j",
    async (options) => {
      const model = await adapted();
      const all = step(model, { ...options });
      expect(Object.keys(all.gradients)).toEqual(Object.keys(model.trainable()));
      expect(step(model, { ...options, learnsFrom: 0 })).toEqual(all);
      for (const [learnsFrom, parts] of [
        [1, ["layer.1", "classifier"]],
        [2, ["classifier"]],
      ] as const) {
        const part = step(model, { ...options, learnsFrom });
        const expected = Object.entries(all.gradients).filter(([name]) => parts.some((own) => name.includes(own)));
        expect(part.loss).toBe(all.loss);
        expect(part.gradients).toEqual(Object.fromEntries(expected));
        expect(expected.length).toBeGreaterThan(0);
      }
    },
  );

  it("records no operation of the blocks before, and keeps nothing of them", async () => {
    const model = await adapted();
    const [all, second, head] = [0, 1, 2].map((learnsFrom) => step(model, { learnsFrom })) as [
      Outcome,
      Outcome,
      Outcome,
    ];
    expect([all.recorded > second.recorded, second.recorded > head.recorded]).toEqual([true, true]);
    expect([all.kept > second.kept, second.kept > head.kept]).toEqual([true, true]);
  });

  it("does not compute blocks again that do not learn", async () => {
    const paths: string[] = [];
    const counted = defineMethod<AddedConfig>({
      ...added,
      forward: (context) => {
        paths.push(context.site.path);
        return (added.forward as NonNullable<typeof added.forward>)(context);
      },
    });
    const model = await adapted(counted);
    const once = ["body.layer.0.query", "body.layer.1.query", "body.layer.1.value"];
    step(model, { recompute: true, learnsFrom: 1 });
    expect(paths.splice(0)).toEqual([...once, ...once.slice(1)]);
    step(model, { recompute: true });
    expect(paths).toEqual([...once, ...once.slice(1), ...once.slice(0, 1)]);
  });

  it("leaves evaluation as it is", async () => {
    const model = await adapted();
    const logits = [undefined, 2].map((learnsFrom) =>
      tf.tidy(() => {
        const given = { frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) };
        const outputs = model.forward(given, BATCH, { training: false, learnsFrom });
        return outputs["logits"]?.dataSync().slice() as Float32Array;
      }),
    ) as [Float32Array, Float32Array];
    expect(logits[1]).toBeAllClose(logits[0], tol.exact);
  });
});
