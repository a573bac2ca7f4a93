import { fileURLToPath } from "node:url";
import type { PeftModel } from "@peftjs/core";
import { float32, int32, peft, type HostTensor, type Method, type Named } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { fromConfig, fromPretrained } from "@peftjs/models";
import { describeOnEngines, readTensors, relativeDifference } from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { parallel, prefixTuning, promptTuning } from "../src/index.ts";

const fixture = (name: string): string => fileURLToPath(new URL(`../../../fixtures/prompts/${name}`, import.meta.url));

const shape = {
  ...{ vocab_size: 20, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 12 },
  ...{
    max_position_embeddings: 12,
    initializer_range: 0.4,
    hidden_dropout_prob: 0.2,
    attention_probs_dropout_prob: 0.2,
  },
};
const families = {
  bert: { ...shape, model_type: "bert", type_vocab_size: 2, pad_token_id: 0 },
  roberta: { ...shape, model_type: "roberta", type_vocab_size: 1, pad_token_id: 1 },
  "roberta-prelayernorm": { ...shape, model_type: "roberta-prelayernorm", type_vocab_size: 1, pad_token_id: 1 },
} as const;
const methods = [promptTuning, prefixTuning] as unknown as readonly Method[];
const pairs = Object.keys(families).flatMap((family) =>
  methods.map((method) => ({ family: family as keyof typeof families, name: method.name, method })),
);
const batch = {
  input_ids: int32([5, 6, 7, 8, 9, 10, 11, 1], [2, 4]),
  attention_mask: int32([1, 1, 1, 1, 1, 1, 1, 0], [2, 4]),
};

/** All outputs of a batch. */
async function outputs(model: PeftModel, engine: Engine, inputs: Named<HostTensor>): Promise<Named<HostTensor>> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch: given = {} }) => ({
    results: { ...model.forward({ frozen, trainable }, given, { training: false }) },
  }));
  try {
    return (
      (await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch: inputs }))["results"] ?? {}
    );
  } finally {
    await program.dispose();
  }
}

describeOnEngines("outputs with virtual tokens", (engine) => {
  describe("of the bare model", () => {
    let values: ReadonlyMap<string, HostTensor>;
    beforeAll(async () => {
      values = await readTensors(fixture("outputs.safetensors"));
    });
    const value = (name: string): HostTensor => values.get(name) as HostTensor;
    const integers = (name: string): HostTensor => int32(Int32Array.from(value(name).data), value(name).shape);

    it.each([
      ["prompt", promptTuning as unknown as Method, ["input_ids", "attention_mask"]],
      ["prefix", prefixTuning as unknown as Method, ["input_ids", "attention_mask"]],
      ["positions", prefixTuning as unknown as Method, ["input_ids", "attention_mask", "position_ids"]],
    ])("are those of the reference, without the virtual positions: %s", async (name, method, inputs) => {
      const base = await fromPretrained(fixture("bert/base"), { head: "none" });
      const model = await peft(base).use(method, { numVirtualTokens: 3 }).apply();
      const table = value(`${name === "positions" ? "prefix" : name}.prompt_embeddings`);
      model.setTrainable({ "default.prompt.table": table });
      const given = Object.fromEntries(inputs.map((input) => [input, integers(input)]));
      const { last_hidden_state, pooler_output } = await outputs(model, engine(), given);
      const theirs = value(`${name}.last_hidden_state`);
      expect(last_hidden_state?.shape).toEqual([2, 5, 16]);
      const [, length, hidden] = theirs.shape as [number, number, number];
      const tokens = [0, 1].flatMap((row) =>
        Array.from(theirs.data.slice((row * length + length - 5) * hidden, (row + 1) * length * hidden)),
      );
      expect(relativeDifference(last_hidden_state?.data ?? [], tokens)).toBeLessThan(1e-5);
      expect(relativeDifference(pooler_output?.data ?? [], value(`${name}.pooler_output`).data)).toBeLessThan(1e-5);
    });
  });

  it.each(pairs)("masked positions are those of the batch's tokens: $family, $name", async ({ family, method }) => {
    const base = fromConfig(families[family], { head: "maskedLM", seed: 3 });
    const model = await peft(base).use(method, { numVirtualTokens: 2 }).apply();
    const all = (await outputs(model, engine(), batch))["logits"] as HostTensor;
    expect(all.shape).toEqual([2, 4, 20]);
    const positions = [6, 1, 3];
    const some = await outputs(model, engine(), { ...batch, masked_positions: int32(positions, [3]) });
    const expected = positions.flatMap((position) => Array.from(all.data.slice(position * 20, (position + 1) * 20)));
    expect(relativeDifference(some["logits"]?.data ?? [], expected)).toBeLessThan(1e-5);
  });

  it.each(pairs)("recomputation gives the gradients of the plain backward pass: $family, $name", async (pair) => {
    const base = fromConfig(families[pair.family], { labels: ["a", "b"], seed: 3 });
    const model = await peft(base)
      .use(pair.method, { numVirtualTokens: 2 })
      .use(parallel, { bottleneckSize: 2 })
      .apply();
    const [plain, again] = await Promise.all([false, true].map((recompute) => gradients(model, engine(), recompute)));
    expect(Object.keys(again ?? {}).sort()).toEqual(Object.keys(model.trainable()).sort());
    for (const [name, { data }] of Object.entries(plain ?? {})) {
      if (data.every((entry: number) => entry === 0)) expect(again?.[name]?.data, name).toEqual(data);
      else expect(relativeDifference(again?.[name]?.data ?? [], data), name).toBeLessThan(1e-5);
    }
  });

  it("several adapters stand one after another", async () => {
    const base = fromConfig(families.bert, { labels: ["a", "b"], seed: 3 });
    const model = await peft(base).use(promptTuning, { numVirtualTokens: 2 }).apply();
    await model.attach({ method: promptTuning, config: { numVirtualTokens: 1 }, name: "second", seed: 4 });
    const one = await peft(base).use(promptTuning, { numVirtualTokens: 3 }).apply();
    const [first, second] = ["default", "second"].map(
      (name) => model.adapters.get(name)?.params.get("prompt.table")?.data as Float32Array,
    ) as [Float32Array, Float32Array];
    one.setTrainable({ "default.prompt.table": float32([...first, ...second], [3, 8]) });
    model.setActive(["default", "second"]);
    const [joined, expected] = await Promise.all([model, one].map((each) => outputs(each, engine(), batch)));
    expect(relativeDifference(joined?.["logits"]?.data ?? [], expected?.["logits"]?.data ?? [])).toBeLessThan(1e-6);
  });
});

/** With dropout. */
async function gradients(model: PeftModel, engine: Engine, recompute: boolean): Promise<Named<HostTensor>> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch: inputs = {}, scalars = {} }) => {
    const options = { training: true, recompute, key: scalars["key"] as tf.Tensor1D };
    const names = Object.keys(trainable);
    const { grads } = tf
      .engine()
      .gradients(() => model.loss({ frozen, trainable }, inputs, options), Object.values(trainable));
    return { gradients: Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])) };
  });
  const labelled = { ...batch, labels: int32([1, 0], [2]) };
  const scalars = { key: int32([1, 2], [2]) };
  const groups = { frozen: model.frozen(), trainable: model.trainable(), batch: labelled, scalars };
  const { gradients: found = {} } = await program.run(groups);
  await program.dispose();
  return found;
}
