import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { added, BATCH, fill, logits, multiplied, tensors, tinyModel, type AddedConfig } from "../test/tiny.ts";
import { defineMethod, float32, PeftModel, type ForwardOptions, type HostTensor, type Method } from "./index.ts";

installMatchers();

interface Run {
  readonly blocks?: readonly number[];
  readonly adapters?: Readonly<Record<string, number>>;
  readonly response?: ForwardOptions["response"];
  readonly extra?: Readonly<Record<string, HostTensor>>;
}

function scaled(model: PeftModel, { blocks, adapters, response, extra = {} }: Run): Float32Array {
  return tf.tidy(() => {
    const given = { frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) };
    const steered = tensors({
      ...(blocks === undefined ? {} : { response_scale: float32(blocks, [blocks.length]) }),
      ...(adapters === undefined ? {} : { adapter_scale: model.adapterScale(adapters) }),
      ...extra,
    });
    const outputs = model.forward(given, { ...BATCH, ...steered }, { training: false, response });
    return outputs["logits"]?.dataSync().slice() as Float32Array;
  });
}

const layers = ["query", "value", "classifier"];

async function adapted(method: Method<AddedConfig> = added, config: Partial<AddedConfig> = {}): Promise<PeftModel> {
  const model = new PeftModel(tinyModel());
  await model.attach({ method, config: { modulesToSave: [], targetModules: layers, ...config }, seed: 1 });
  fill(model, 3);
  return model;
}

/** B counts by block: what is scaled when the response is. */
function withScaledB(model: PeftModel, factorOf: (key: string) => number): Float32Array {
  const before = model.trainable();
  const values = Object.entries(before).map(([key, { data, shape }]) => {
    const factor = key.endsWith(".b") ? factorOf(key) : 1;
    return [
      key,
      float32(
        Float32Array.from(data, (value) => value * factor),
        shape,
      ),
    ] as const;
  });
  model.setTrainable(Object.fromEntries(values));
  const found = logits(model);
  model.setTrainable(before);
  return found;
}

/** y = base(x) + (r·x·Aᵀ·Bᵀ)², r the response scale: not what scaling the output gives. */
const squared = defineMethod<AddedConfig>({
  ...added,
  capabilities: { ...added.capabilities, merge: false, ownResponse: true },
  forward: ({ params, x, base, responseScale }) => {
    const low = tf.matMul(x, params["a"] as tf.Tensor2D, false, true);
    const product = tf.matMul(low, params["b"] as tf.Tensor2D, false, true);
    return tf.add(base(x), tf.square(responseScale === null ? product : tf.mul(product, responseScale)));
  },
});

describe("response_scale", () => {
  it("scales what an adapter adds to the layers of each block, and no others", async () => {
    const model = await adapted();
    const whole = logits(model);
    expect(scaled(model, { blocks: [1, 1] })).toBeAllClose(whole);
    const expected = withScaledB(model, (key) => (key.includes("layer.0") ? 0.25 : key.includes("layer.1") ? 0.5 : 1));
    expect(scaled(model, { blocks: [0.25, 0.5] })).toBeAllClose(expected);
    expect(expected).not.toBeAllClose(whole, { absolute: 0.01, relative: 0 });
    const outside = withScaledB(model, (key) => Number(key.includes("classifier")));
    expect(scaled(model, { blocks: [0, 0] })).toBeAllClose(outside);
    expect(outside).not.toBeAllClose(logits(new PeftModel(tinyModel())), { absolute: 0.01, relative: 0 });
  });

  it("scales each of several adapters, times its adapter_scale, and in a mixed batch as well", async () => {
    const model = await adapted(added, { targetModules: ["query"] });
    await model.attach({ name: "times", method: multiplied, config: { modulesToSave: [], targetModules: ["query"] } });
    model.setActive("times");
    fill(model, 4);
    const alone = ["default", "times"].map((name) => {
      model.setActive(name);
      return scaled(model, { adapters: { [name]: 0.3 } });
    }) as [Float32Array, Float32Array];
    model.setActive(["default", "times"]);
    const base = logits(new PeftModel(tinyModel()));
    expect(scaled(model, { blocks: [0, 0] })).toBeAllClose(base);
    const both = scaled(model, { adapters: { default: 0.3, times: 0.3 } });
    expect(scaled(model, { blocks: [0.3, 0.3] })).toBeAllClose(both);
    expect(scaled(model, { blocks: [0.6, 0.6], adapters: { default: 0.5, times: 0.5 } })).toBeAllClose(both);
    model.setActive(["default", "times"], { mixed: true });
    const extra = { adapter_index: model.adapterIndex(["times", "default"]) };
    expect(scaled(model, { blocks: [0.3, 0.3], extra })).toBeAllClose([...alone[1].slice(0, 2), ...alone[0].slice(2)]);
  });

  it("is left to a method that has a response of its own, unless what it adds is asked for", async () => {
    const model = await adapted(squared, { targetModules: ["query"], layersToTransform: [1] });
    const plain = await adapted(
      { ...squared, capabilities: added.capabilities },
      { targetModules: ["query"], layersToTransform: [1] },
    );
    const at = (response: ForwardOptions["response"]) => scaled(model, { blocks: [1, 0.5], response });
    expect(at("output")).toBeAllClose(scaled(plain, { blocks: [1, 0.5] }), tol.exact);
    expect(at("method")).toBeAllClose(scaled(plain, { blocks: [1, 0.25] }));
    expect(at(undefined)).toBeAllClose(at("method"), tol.exact);
    expect(at("method")).not.toBeAllClose(at("output"), { absolute: 0.01, relative: 0 });
    const steered = { blocks: [1, 0.5], adapters: { default: 0.5 } };
    expect(scaled(model, steered)).toBeAllClose(scaled(plain, { blocks: [1, 0.125] }));
  });

  it("is refused for another number of blocks, and for merged adapters; nothing is there to scale when they are disabled", async () => {
    const model = await adapted();
    expect(() => scaled(model, { blocks: [1, 1, 1] })).toThrow(
      /response_scale has shape \[3\] for 2 transformer blocks/u,
    );
    expect(() => scaled(model, { extra: { response_scale: float32([1], []) } })).toThrow(
      expect.objectContaining({ code: "SCALE_INVALID" }),
    );
    expect(model.disable(() => scaled(model, { blocks: [0, 3] }))).toBeAllClose(
      logits(new PeftModel(tinyModel())),
      tol.exact,
    );
    model.merge();
    expect(() => scaled(model, { blocks: [1, 1] })).toThrow(expect.objectContaining({ code: "ADAPTER_MERGED" }));
  });
});
