import { combineAdapters, peft } from "@peftjs/core";
import type { BaseModel, HostTensor, Method } from "@peftjs/core";
import { fromConfig } from "@peftjs/models";
import { installMatchers } from "@peftjs/testkit";
import { expect, it } from "vitest";
import { eva, lora, loraplus, olora, pissa, rslora } from "../src/index.ts";

installMatchers();

const config = {
  ...{ model_type: "bert", vocab_size: 20, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2 },
  ...{ intermediate_size: 12, max_position_embeddings: 8, initializer_range: 0.4 },
};
const batches = Array.from({ length: 6 }, (_, i) => ({
  input_ids: { dtype: "int32", shape: [4, 6], data: Int32Array.from({ length: 24 }, (_, j) => (i * 5 + j * 3) % 20) },
})) satisfies readonly Record<string, HostTensor>[];
const path = "bert.encoder.layer.0.attention.self.query.weight";

function weight({ parameters }: BaseModel): Float32Array {
  return parameters.get(path)!.data as Float32Array;
}

it.each(
  [lora, rslora, loraplus, pissa, olora, eva].map((method) => [method.name, method as unknown as Method] as const),
)("%s: the weighted sum of two adapters is a plain adapter of lora", async (_, method) => {
  const base = fromConfig(config, { numLabels: 2, seed: 1 });
  const model = await peft(base)
    .use(method, { rank: 2, targetModules: ["query"] }, { name: "a" })
    .apply({ batches });
  await model.attach({ name: "b", method, config: { rank: 2, targetModules: ["query"] }, calibration: { batches } });
  const change = (name: string): Float32Array => {
    model.setActive(name);
    const { params } = model.adapters.get(name)!;
    for (const [key, { data }] of params)
      data.forEach((value, i) => (data[i] = value + 0.1 * Math.sin(i + key.length + name.length)));
    return weight(model.mergeAndUnload()).map((value, i) => value - weight(base)[i]!);
  };
  const [first, second] = [change("a"), change("b")];
  const combined = await combineAdapters(model, { adapters: ["a", "b"], weights: [0.75, -0.5], name: "both" });
  expect(combined.method).toBe(lora);
  model.setActive("both");
  const sum = weight(model.mergeAndUnload()).map((value, i) => value - weight(base)[i]!);
  expect(sum).toBeAllClose(
    first.map((value, i) => 0.75 * value - 0.5 * second[i]!),
    { absolute: 2e-6, relative: 1e-5 },
  );
});
