import { gradientCheck, installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it, vi } from "vitest";
import { added, fill, logits, tensors, tinyModel, trainsAll, BATCH } from "../test/tiny.ts";
import { createGenerator, defineMethod, float32, peft, PeftModel, type BaseModel, type HostTensor } from "./index.ts";

installMatchers();

const copyOf = (base: BaseModel): Map<string, number[]> =>
  new Map([...base.parameters].map(([name, { data }]) => [name, [...data]]));

describe("a model without adapters", () => {
  it("computes y = x·Wᵀ + b for both layouts", () => {
    const base = tinyModel();
    const p = (name: string): tf.Tensor =>
      tensors({ [name]: base.parameters.get(name) as HostTensor })[name] as tf.Tensor;
    const expected = tf.tidy(() => {
      const x = tf.gather(p("body.embed.weight"), tf.tensor1d([...BATCH.input_ids.dataSync()], "int32")) as tf.Tensor2D;
      const linear = (path: string, input: tf.Tensor2D, transposed: boolean): tf.Tensor2D =>
        tf.add(tf.matMul(input, p(`${path}.weight`) as tf.Tensor2D, false, transposed), p(`${path}.bias`));
      const h = tf.tanh(linear("body.layer.0.query", x, true));
      const sum = tf.add(linear("body.layer.1.query", h, false), linear("body.layer.1.value", h, true));
      const pooled = tf.mean(tf.reshape(sum, [2, 3, 4]), 1) as tf.Tensor2D;
      return tf.add(linear("classifier", pooled, true), tf.mean(p("body.embed.weight")));
    });
    expect(logits(new PeftModel(base))).toBeAllClose(expected.dataSync());
  });

  it("feeds a tied parameter once", () => {
    expect(Object.keys(new PeftModel(tinyModel()).frozen())).not.toContain("decoder.weight");
  });

  it("names layers and parameters that do not exist", () => {
    const base = tinyModel();
    const broken =
      (call: BaseModel["forward"]): (() => unknown) =>
      () =>
        logits(new PeftModel({ ...base, forward: call }));
    const x = tf.zeros([1, 4]);
    expect(broken((f) => ({ logits: f.linear("body.layer.0.qurey", x) }))).toThrow(
      /lists no such site. Did you mean "body.layer.0.query"/u,
    );
    expect(broken((f) => ({ logits: f.linear("body.embed", x) }))).toThrow(
      /of kind embedding, but is called as linear/u,
    );
    expect(broken((f) => ({ logits: f.parameter("classifier.wieght") }))).toThrow(/Did you mean "classifier.weight"/u);
    expect(() => new PeftModel(base).forward({ frozen: {}, trainable: {} }, BATCH, { training: false })).toThrow(
      /No tensor "body.embed.weight" was passed/u,
    );
  });
});

describe("attach", () => {
  it("starts as the base model and trains the adapter and the head alone", async () => {
    const base = tinyModel();
    const before = copyOf(base);
    const model = await peft(base).use(added, { rank: 3 }).apply();
    expect(logits(model)).toBeAllClose(logits(new PeftModel(base)), tol.exact);
    expect(Object.keys(model.trainable()).sort()).toEqual(
      [
        "body.layer.0.query.a",
        "body.layer.0.query.b",
        "body.layer.1.query.a",
        "body.layer.1.query.b",
        "classifier.bias",
        "classifier.weight",
      ].map((key) => `default.${key}`),
    );
    fill(model, 5);
    expect(logits(model)).not.toBeAllClose(logits(new PeftModel(base)), { absolute: 0.1, relative: 0 });
    expect(copyOf(base)).toEqual(before);
  });

  it("draws parameters in the model's order from one seeded generator", async () => {
    const draw = async (seed: number): Promise<number[]> => {
      const model = await peft(tinyModel()).use(added, { rank: 3 }, { seed }).apply();
      return ["body.layer.0.query.a", "body.layer.1.query.a"].flatMap((name) => [
        ...(model.adapters.get("default")?.params.get(name)?.data ?? []),
      ]);
    };
    expect(await draw(4)).toEqual([...createGenerator(4).uniform(24, -1, 1)]);
    expect(await draw(4)).not.toEqual(await draw(5));
  });

  it("has the gradient that finite differences have", async () => {
    const model = await peft(tinyModel())
      .use(added, { targetModules: ["query", "value"] }, { seed: 1 })
      .apply();
    fill(model, 2);
    const names = Object.keys(model.trainable());
    const frozen = tensors(model.frozen());
    const loss = (...xs: tf.Tensor[]): tf.Scalar =>
      model.loss({ frozen, trainable: Object.fromEntries(names.map((name, i) => [name, xs[i] as tf.Tensor])) }, BATCH, {
        training: false,
      });
    gradientCheck(loss, Object.values(tensors(model.trainable())));
  });

  it("gives the same gradients to tied parameters as one parameter", async () => {
    const all = trainsAll();
    const model = await peft(tinyModel()).use(all).apply();
    const keys = Object.keys(model.trainable());
    expect(keys).toContain("default.body.embed.weight");
    expect(keys).not.toContain("default.decoder.weight");
    const updated = float32(createGenerator(1).normal(20), [5, 4]);
    model.setTrainable({ "default.body.embed.weight": updated });
    const merged = model.mergeAndUnload();
    expect(merged.parameters.get("decoder.weight")).toBe(merged.parameters.get("body.embed.weight"));
    expect(merged.parameters.get("decoder.weight")?.data).toBe(updated.data);
    expect(logits(new PeftModel(merged))).toBeAllClose(logits(model), tol.exact);
  });

  it("refuses unusable names, configs and values", async () => {
    const model = await peft(tinyModel()).use(added).apply();
    for (const name of ["", "a.b", "a/b", "..", "a:b"])
      await expect(model.attach({ name, method: added })).rejects.toMatchObject({ code: "ADAPTER_NAME_INVALID" });
    await expect(model.attach({ method: added })).rejects.toMatchObject({ code: "ADAPTER_EXISTS" });
    const wrong = { rnk: 4 } as object;
    await expect(model.attach({ name: "b", method: added, config: wrong })).rejects.toThrow(
      /"rnk".*Did you mean "rank"/su,
    );
    await expect(model.attach({ name: "b", method: added, config: { rank: -1 } })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
    await expect(model.attach({ name: "b", method: added, config: { modulesToSave: ["clasifier"] } })).rejects.toThrow(
      /no such module. Did you mean "classifier"/u,
    );
    expect([...model.adapters.keys()]).toEqual(["default"]);
    expect(() => model.setTrainable({ nothing: float32([1], [1]) })).toThrow(/no trainable parameter/u);
    expect(() => model.setTrainable({ "default.classifier.bias": float32([1], [1]) })).toThrow(
      /has shape \[2\], got \[1\]/u,
    );
  });

  it("reports parameters in the Python library's words", async () => {
    const model = await peft(tinyModel()).use(added, { rank: 3 }).apply();
    expect(model.trainableReport()).toMatchObject({ trainable: 58, total: 148, percent: (100 * 58) / 148 });
    const log = vi.spyOn(console, "log").mockImplementation(() => undefined);
    model.printTrainableParameters();
    expect(log).toHaveBeenCalledWith("trainable params: 58 || all params: 148 || trainable%: 39.1892");
    log.mockRestore();
  });
});

describe("training", () => {
  const key = (step: number): tf.Tensor1D => tf.tensor1d([17, step], "int32");
  const run = (model: PeftModel, training: boolean, step?: number): Float32Array =>
    tf.tidy(() => {
      const options = { training, key: step === undefined ? undefined : key(step) };
      const given = { frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) };
      const { logits: output } = model.forward(given, BATCH, options);
      return output?.dataSync() as Float32Array;
    });

  it("needs a key for dropout, repeats itself for the same key and not for another", async () => {
    const model = await peft(tinyModel(7, { dropout: 0.5 }))
      .use(added, { dropout: 0.5 })
      .apply();
    fill(model, 4);
    expect(() => run(model, true)).toThrow(expect.objectContaining({ code: "KEY_MISSING" }));
    expect(run(model, true, 1)).toBeAllClose(run(model, true, 1), tol.exact);
    expect(run(model, true, 1)).not.toBeAllClose(run(model, true, 2));
    expect(run(model, false)).toBeAllClose(run(model, false, 2), tol.exact);
  });

  it("agrees with evaluation on average over the adapter's dropout", async () => {
    // The logits are linear in this layer's output, so that the mean over masks is the output without one.
    const model = await peft(tinyModel())
      .use(added, { dropout: 0.3, targetModules: ["value"] })
      .apply();
    fill(model, 4);
    const expected = run(model, false);
    const given = { frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) };
    const outputs = Array.from({ length: 1000 }, (_, step) =>
      tf.tidy(() => {
        const { logits: output } = model.forward(given, BATCH, { training: true, key: key(step) });
        return output?.dataSync() as Float32Array;
      }),
    );
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value / values.length, 0);
    for (const [i, value] of expected.entries()) {
      const average = mean(outputs.map((output) => output[i] as number));
      const spread = Math.sqrt(mean(outputs.map((output) => ((output[i] as number) - average) ** 2)));
      expect(spread).toBeGreaterThan(0.05);
      expect(Math.abs(average - value)).toBeLessThan((4 * spread) / Math.sqrt(outputs.length));
    }
  });

  it("adds penalties to the training loss only, and lets methods act after a step", async () => {
    const steps: number[] = [];
    const penalized = defineMethod({
      ...added,
      penalty: ({ sites }) =>
        tf.addN(sites.map(({ params }) => tf.sum(tf.square(params["b"] as tf.Tensor)))) as tf.Scalar,
      afterStep: ({ step, sites }) => {
        steps.push(step);
        for (const { params } of sites) params["b"]?.data.fill(0.5);
      },
    });
    const model = await peft(tinyModel()).use(penalized).apply();
    await model.afterStep(3);
    expect(steps).toEqual([3]);
    const given = { frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) };
    const loss = (training: boolean): number => model.loss(given, BATCH, { training }).dataSync()[0] as number;
    expect(loss(true) - loss(false)).toBeCloseTo(2 * 8 * 0.25, 5);
    model.setActive(["default"], { trainable: [] });
    await model.afterStep(4);
    expect(steps).toEqual([3]);
  });
});

describe("a method that replaces weights and keeps buffers", () => {
  const half = (base: HostTensor): HostTensor =>
    float32(
      Float32Array.from(base.data, (x) => x / 2),
      base.shape,
    );
  const residual = defineMethod({
    ...added,
    init: ({ weight }) => ({
      params: { scale: float32([1], [1]) },
      buffers: { start: half(weight) },
      weight: half(weight),
    }),
    forward: ({ base, x, params, site }) => {
      const start = tf.mul(params["start"] as tf.Tensor2D, params["scale"] as tf.Tensor) as tf.Tensor2D;
      return tf.add(base(x), tf.matMul(x, start, false, site.layout === "out_in"));
    },
    delta: ({ params }) => ({
      weight: tf.mul(params["start"] as tf.Tensor2D, params["scale"] as tf.Tensor) as tf.Tensor2D,
    }),
  });

  it("computes as before, freezes the buffers and leaves the base alone", async () => {
    const model = await peft(tinyModel()).use(residual).apply();
    expect(logits(model)).toBeAllClose(logits(new PeftModel(tinyModel())));
    expect(Object.keys(model.trainable())).not.toContain("default.body.layer.0.query.start");
    expect(Object.keys(model.frozen())).toContain("default.body.layer.0.query.start");
    model.setTrainable({ "default.body.layer.0.query.scale": float32([3], [1]) });
    const changed = logits(model);
    expect(changed).not.toBeAllClose(logits(new PeftModel(tinyModel())));
    expect(logits(new PeftModel(model.mergeAndUnload()))).toBeAllClose(changed);
    expect(model.disable(() => logits(model))).toBeAllClose(logits(new PeftModel(tinyModel())), tol.exact);
  });
});
