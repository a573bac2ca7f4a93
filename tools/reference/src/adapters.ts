import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  createGenerator,
  float32,
  int32,
  loadAdapter,
  MethodRegistry,
  peft,
  PeftModel,
  saveAdapter,
  writeSafetensors,
  widen,
} from "@peftjs/core";
import type { Method, Named, HostTensor } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { bitfit, head } from "@peftjs/method-classic";
import { lora } from "@peftjs/method-lora-family";
import { fromConfig, savePretrained } from "@peftjs/models";

/**
 * Writes adapters with random values for tools/reference/adapters.py, which loads them with the Python library.
 *
 *   npx tsx --conditions=@peftjs/source tools/reference/src/adapters.ts FOLDER [ADAPTER]
 *
 * ADAPTER: a folder that the Python library wrote for a BERT-base classifier; it is used as it is, on random weights.
 */
const [folder, given] = process.argv.slice(2);
if (folder === undefined) throw new Error("Usage: adapters.ts FOLDER [ADAPTER]");

const shape = {
  vocab_size: 80,
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 48,
  max_position_embeddings: 40,
  layer_norm_eps: 1e-12,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  initializer_range: 0.2,
};
const families: Readonly<Record<string, Record<string, unknown>>> = {
  bert: {
    ...shape,
    model_type: "bert",
    architectures: ["BertForSequenceClassification"],
    type_vocab_size: 2,
    pad_token_id: 0,
  },
  roberta: {
    ...shape,
    model_type: "roberta",
    architectures: ["RobertaForSequenceClassification"],
    type_vocab_size: 1,
    pad_token_id: 1,
    bos_token_id: 0,
    eos_token_id: 2,
  },
};
const settings: Readonly<Record<string, readonly [Method, object]>> = {
  lora: [lora as unknown as Method, { rank: 4, alpha: 8 }],
  "lora-all-linear": [lora as unknown as Method, { rank: 3, targetModules: "all-linear", initLoraWeights: "gaussian" }],
  "lora-patterns": [
    lora as unknown as Method,
    {
      rank: 4,
      useRslora: true,
      loraBias: true,
      bias: "lora_only",
      targetModules: ["query", "dense"],
      excludeModules: ["pooler.dense"],
      rankPattern: { "layer.0.output.dense": 2 },
      alphaPattern: { query: 3 },
    },
  ],
  "lora-bias-all": [
    lora as unknown as Method,
    { rank: 2, bias: "all", layersToTransform: [1], targetModules: ["query", "key"] },
  ],
  "lora-embedding": [lora as unknown as Method, { rank: 2, targetModules: ["word_embeddings", "value"] }],
  "lora-roles": [lora as unknown as Method, { rank: 2, targetRoles: ["ffnUp", "ffnDown"] }],
  bitfit: [bitfit as unknown as Method, {}],
  head: [head as unknown as Method, {}],
};

const engine = await createEngine({ kind: "onnx", threads: 1 });
const generator = createGenerator(7);
for (const [family, config] of Object.entries(families)) {
  for (const [name, [method, options]] of Object.entries(settings)) {
    await writeCase(join(folder, `${family}-${name}`), config, { method, options });
  }
}

if (given !== undefined) await writeGiven(join(folder, "given"), given);

/** The given adapter on a BERT-base with random weights and a small vocabulary, which takes no part in the adapter. */
async function writeGiven(dir: string, adapter: string): Promise<void> {
  const config = {
    ...families["bert"],
    ...{
      hidden_size: 768,
      num_hidden_layers: 12,
      num_attention_heads: 12,
      intermediate_size: 3072,
      initializer_range: 0.04,
    },
  };
  const base = fromConfig(config, { numLabels: 2, seed: 1, name: join(dir, "base") });
  await savePretrained(base, join(dir, "base"));
  cpSync(adapter, join(dir, "adapter"), { recursive: true });
  const model = new PeftModel(base);
  const report = await loadAdapter(model, { dir: adapter, methods: new MethodRegistry().use(lora) });
  if (report.missing.length + report.unexpected.length > 0) throw new Error(JSON.stringify(report));
  await writeExpected(dir, model, 0);
}

async function writeExpected(dir: string, model: PeftModel, pad: number): Promise<void> {
  const batch = randomBatch(pad);
  const logits = await run(model, batch);
  const logitsBase = await model.disable(() => run(model, batch));
  const tensors = Object.entries({ ...batch, logits, logits_base: logitsBase });
  await writeSafetensors(
    join(dir, "expected.safetensors"),
    new Map(tensors.map(([key, tensor]) => [key, asFloat(tensor)])),
  );
}

async function writeCase(
  dir: string,
  config: Record<string, unknown>,
  { method, options }: { readonly method: Method; readonly options: object },
): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const base = fromConfig(config, { labels: ["a", "b", "c"], seed: 1, name: join(dir, "base") });
  for (const [key, tensor] of base.parameters) base.parameters.set(key, moved(widen(tensor)));
  await savePretrained(base, join(dir, "base"));
  const model = await peft(base).use(method, options, { seed: 2 }).apply();
  model.setTrainable(
    Object.fromEntries(Object.entries(model.trainable()).map(([key, tensor]) => [key, moved(tensor)])),
  );
  await saveAdapter(model, { dir: join(dir, "adapter") });
  await writeExpected(dir, model, config["pad_token_id"] as number);
}

function moved(tensor: HostTensor): HostTensor {
  const noise = generator.normal(tensor.data.length, 0, 0.1);
  return float32(
    Float32Array.from(tensor.data, (value, i) => value + noise[i]!),
    tensor.shape,
  );
}

function randomBatch(pad: number): Record<string, HostTensor> {
  const lengths = [9, 12, 5, 7];
  const ids = lengths.flatMap((length) =>
    Array.from({ length: 12 }, (_, i) => (i < length ? 3 + (generator.next32() % 77) : pad)),
  );
  const mask = lengths.flatMap((length) => Array.from({ length: 12 }, (_, i) => (i < length ? 1 : 0)));
  return { input_ids: int32(ids, [4, 12]), attention_mask: int32(mask, [4, 12]) };
}

async function run(model: PeftModel, batch: Named<HostTensor>): Promise<HostTensor> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch = {} }) => ({
    results: { logits: model.forward({ frozen, trainable }, batch, { training: false })["logits"]! },
  }));
  const { results } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
  await program.dispose();
  return results!["logits"]!;
}

/** The file holds float32 alone; ids and masks are small numbers. */
function asFloat({ data, shape }: HostTensor): HostTensor {
  return float32(Float32Array.from(data), shape);
}
