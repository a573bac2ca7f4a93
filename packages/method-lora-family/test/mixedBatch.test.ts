import { createGenerator, PeftModel } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { CompiledFunction, Engine } from "@peftjs/engine";
import { fromConfig } from "@peftjs/models";
import { describeOnEngines, perturb } from "@peftjs/testkit/conformance";
import type * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { lora } from "../src/index.ts";

const config = {
  ...{ model_type: "roberta", vocab_size: 40, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2 },
  ...{ intermediate_size: 24, max_position_embeddings: 20, type_vocab_size: 1, pad_token_id: 1 },
};
const [ROWS, TOKENS, LABELS] = [5, 6, 3];
const ASSIGNMENTS = [
  ["ranks", "words", "__base__", "rows", "ranks"],
  ["rows", "rows", "words", "words", "__base__"],
  ["__base__", "__base__", "__base__", "__base__", "__base__"],
];

function batch(): Named<HostTensor> {
  const generator = createGenerator(3);
  const ids = Int32Array.from(generator.uniform(ROWS * TOKENS, 4, 39.99), Math.floor);
  const mask = Int32Array.from({ length: ROWS * TOKENS }, (_, i) => Number(i % TOKENS < 6 - Math.floor(i / TOKENS)));
  return {
    input_ids: { dtype: "int32", shape: [ROWS, TOKENS], data: ids.map((id, i) => (mask[i] === 1 ? id : 1)) },
    attention_mask: { dtype: "int32", shape: [ROWS, TOKENS], data: mask },
  };
}

/** Three adapters: of two ranks and heads, on the embedding, and without a head but with trained rows. */
async function adapted(): Promise<PeftModel> {
  const model = new PeftModel(fromConfig(config, { numLabels: LABELS, seed: 1 }));
  const adapters = {
    ranks: { rank: 4, rankPattern: { "layer.1.*query": 2 }, targetModules: ["query", "value", "dense"] },
    words: { rank: 2, targetModules: ["word_embeddings", "key"] },
    rows: { rank: 3, targetModules: ["query"], modulesToSave: [], trainableTokenIndices: [5, 9, 20, 31] },
  };
  for (const [name, settings] of Object.entries(adapters)) {
    await model.attach({ name, method: lora, config: settings, seed: 2 });
    model.setActive(name);
    perturb(model, { seed: 7, std: 0.3 });
  }
  return model;
}

function compile(model: PeftModel, engine: Engine): CompiledFunction {
  return engine.compile(({ frozen = {}, trainable = {}, batch: inputs = {} }) => {
    const { logits } = model.forward({ frozen, trainable }, inputs, { training: false });
    return { results: { logits: logits as tf.Tensor } };
  });
}

async function run(model: PeftModel, program: CompiledFunction, inputs: Named<HostTensor>): Promise<number[]> {
  const { results } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch: inputs });
  return [...(results?.["logits"] as HostTensor).data];
}

describeOnEngines("a mixed batch", (engine) => {
  it("gives each row what its adapter alone gives it, from one program for all assignments", async () => {
    const model = await adapted();
    const inputs = batch();
    const alone = new Map<string, number[]>();
    for (const name of ["ranks", "words", "rows", "__base__"]) {
      model.setActive(name === "__base__" ? [] : name);
      const program = compile(model, engine());
      alone.set(name, await run(model, program, inputs));
      await program.dispose();
    }
    model.setActive(["ranks", "words", "rows"], { mixed: true });
    const mixed = compile(model, engine());
    for (const names of ASSIGNMENTS) {
      const actual = await run(model, mixed, { ...inputs, adapter_index: model.adapterIndex(names) });
      const expected = names.flatMap((name, row) => alone.get(name)?.slice(row * LABELS, (row + 1) * LABELS) ?? []);
      expect(actual).toHaveLength(expected.length);
      actual.forEach((value, i) => {
        expect(Math.abs(value - (expected[i] as number)), `${names.join(" ")}: ${i}`).toBeLessThanOrEqual(1e-6);
      });
    }
    // The eager engine builds none.
    expect(mixed.counters.programsBuilt).toBe(engine().backend === "onnxruntime" ? 1 : 0);
    await mixed.dispose();
    const [first, ...others] = [...alone.values()];
    for (const other of others)
      expect(Math.max(...other.map((value, i) => Math.abs(value - (first?.[i] as number))))).toBeGreaterThan(1e-2);
  });

  it("scales an adapter by an input of the program", async () => {
    const model = await adapted();
    model.setActive("ranks");
    const program = compile(model, engine());
    const scaled = (factor: number): Promise<number[]> =>
      run(model, program, { ...batch(), adapter_scale: model.adapterScale({ ranks: factor }) });
    const [half, none] = [await scaled(0.5), await scaled(0)];
    expect(program.counters.programsBuilt).toBe(engine().backend === "onnxruntime" ? 1 : 0);
    await program.dispose();
    const plain = compile(model, engine());
    for (const [factor, actual] of [
      [0.5, half],
      [0, none],
    ] as const) {
      const alpha = { alpha: lora.config.parse({}).alpha * factor };
      const other = new PeftModel(model.base);
      const settings = { ...(model.adapters.get("ranks")?.config as object), ...alpha };
      await other.attach({ name: "ranks", method: lora, config: settings });
      other.setTrainable(model.trainable());
      const reference = compile(other, engine());
      const expected = await run(other, reference, batch());
      await reference.dispose();
      actual.forEach((value, i) => expect(Math.abs(value - (expected[i] as number))).toBeLessThanOrEqual(2e-6));
    }
    const full = await run(model, plain, batch());
    await plain.dispose();
    expect(Math.max(...full.map((value, i) => Math.abs(value - (half[i] as number))))).toBeGreaterThan(1e-2);
  });
});
