import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { added, BATCH, fill, logits, multiplied, tensors, tinyModel } from "../test/tiny.ts";
import { float32, PeftModel, type HostTensor } from "./index.ts";

installMatchers();

function scaled(model: PeftModel, factors: Readonly<Record<string, number>>, extra: Record<string, tf.Tensor> = {}) {
  return tf.tidy(() => {
    const given = { frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) };
    const steered = { ...tensors({ adapter_scale: model.adapterScale(factors) }), ...extra };
    const outputs = model.forward(given, { ...BATCH, ...steered }, { training: false });
    return outputs["logits"]?.dataSync().slice() as Float32Array;
  });
}

async function two(): Promise<PeftModel> {
  const model = new PeftModel(tinyModel());
  await model.attach({ name: "plus", method: added, config: { modulesToSave: [] }, seed: 1 });
  await model.attach({ name: "times", method: multiplied, config: { modulesToSave: [], targetModules: ["query"] } });
  model.setActive(["plus", "times"]);
  fill(model, 3);
  return model;
}

describe("adapter_scale", () => {
  it("scales what an additive adapter adds, as its parameters would", async () => {
    const model = await two();
    model.setActive("plus");
    const full = logits(model);
    expect(scaled(model, {})).toBeAllClose(full);
    expect(scaled(model, { plus: 0 })).toBeAllClose(logits(new PeftModel(tinyModel())));
    const half = scaled(model, { plus: 0.5 });
    const halves = Object.entries(model.trainable()).map(([key, { data, shape }]) => [
      key,
      float32(
        Float32Array.from(data, (value) => (key.endsWith(".b") ? value / 2 : value)),
        shape,
      ),
    ]);
    model.setTrainable(Object.fromEntries(halves) as Record<string, HostTensor>);
    expect(half).toBeAllClose(logits(model));
    expect(half).not.toBeAllClose(full, { absolute: 0.01, relative: 0 });
  });

  it("scales each of several adapters on its own, in a mixed batch as well", async () => {
    const model = await two();
    const alone = Object.fromEntries(
      ["plus", "times"].map((name) => {
        model.setActive(name);
        return [name, scaled(model, { [name]: 0.3 })];
      }),
    );
    model.setActive(["plus", "times"]);
    expect(scaled(model, { plus: 0.3, times: 0 })).toBeAllClose(alone["plus"] as Float32Array);
    expect(scaled(model, { plus: 0, times: 0.3 })).toBeAllClose(alone["times"] as Float32Array);
    model.setActive(["plus", "times"], { mixed: true });
    const rows = tensors({ adapter_index: model.adapterIndex(["times", "plus"]) });
    const [times, plus] = [alone["times"] as Float32Array, alone["plus"] as Float32Array];
    expect(scaled(model, { plus: 0.3, times: 0.3 }, rows)).toBeAllClose([...times.slice(0, 2), ...plus.slice(2)]);
  });

  it("is refused for adapters that are inactive or merged, and numbers that are none", async () => {
    const model = await two();
    expect(() => model.adapterScale({ plsu: 1 })).toThrow(/Did you mean "plus"/u);
    expect(() => model.adapterScale({ plus: NaN })).toThrow(expect.objectContaining({ code: "SCALE_INVALID" }));
    const wrong = { adapter_scale: tf.ones([3]) };
    expect(() => scaled(model, {}, wrong)).toThrow(/has shape \[3\] for 2 active adapters/u);
    expect(model.disable(() => scaled(model, { plus: 2 }))).toBeAllClose(logits(new PeftModel(tinyModel())), tol.exact);
    model.merge({ adapters: ["plus"] });
    expect(() => scaled(model, { times: 2 })).toThrow(expect.objectContaining({ code: "ADAPTER_MERGED" }));
  });
});
