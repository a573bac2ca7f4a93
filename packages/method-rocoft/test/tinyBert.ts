import { createGenerator, float32, peft, widen } from "@peftjs/core";
import type { BaseModel, HostTensor, PeftModel } from "@peftjs/core";
import { fromConfig } from "@peftjs/models";
import type { RocoftConfig } from "../src/config.ts";
import { transposed } from "../src/interchange/oneHot.ts";
import { rocoft } from "../src/method.ts";

const sizes = { hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 12, vocab_size: 20 };

/** A small BERT with a head. */
export function bert(): BaseModel {
  return fromConfig({ ...sizes, model_type: "bert", architectures: ["BertForSequenceClassification"] }, { seed: 1 });
}

/** The same model, with weights that are stored [in, out]. */
export function inOut(): BaseModel {
  const base = bert();
  const linear = base.sites.filter(({ kind }) => kind === "linear");
  const turned = linear.map(({ weight }) => [weight, transposed(widen(base.parameters.get(weight)!))] as const);
  return {
    ...base,
    parameters: new Map([...base.parameters, ...turned]),
    sites: base.sites.map((site) => ({ ...site, layout: "in_out" })),
  };
}

/** An adapter with random values. */
export async function trained(config: Partial<RocoftConfig>, base = bert()): Promise<PeftModel> {
  const model = await peft(base).use(rocoft, config, { seed: 4 }).apply();
  const generator = createGenerator(3);
  const moved = Object.entries(model.trainable()).map(([key, { data, shape }]) => {
    const noise = generator.normal(data.length);
    return [
      key,
      float32(
        Float32Array.from(data, (value, i) => value + (noise[i] as number)),
        shape,
      ),
    ];
  });
  model.setTrainable(Object.fromEntries(moved) as Record<string, HostTensor>);
  return model;
}

/** Weights and biases with the adapter in them. */
export function merged(model: PeftModel): Record<string, Float32Array> {
  const { parameters } = model.mergeAndUnload();
  return Object.fromEntries([...parameters].map(([name, tensor]) => [name, widen(tensor).data as Float32Array]));
}

/** What a promise is rejected with. */
export async function refusal(promise: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> {
  return promise.then(
    () => ({ code: "none", message: "" }),
    (error: { code: string; message: string }) => error,
  );
}
