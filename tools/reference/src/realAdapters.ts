import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadAdapter, MethodRegistry, openSafetensors, PeftModel, saveAdapter, zeros } from "@peftjs/core";
import type { BaseModel, LayerSite, StoredTensor } from "@peftjs/core";
import { dora, lora } from "@peftjs/method-lora-family";
import { fromConfig } from "@peftjs/models";

/**
 * Reads adapters that the Python library wrote, writes them again, and compares every tensor byte for byte and adapter_config.json key
 * for key.
 *
 *   npx tsx --conditions=@peftjs/source tools/reference/src/realAdapters.ts FOLDER
 *
 * FOLDER holds one folder per adapter: of BERT-base, which is loaded into that model with random weights, or of GPT-2 small, into a list
 * of its layers, which is all that a file needs.
 */
const [given] = process.argv.slice(2);
if (given === undefined) throw new Error("Usage: realAdapters.ts FOLDER");

type Json = Readonly<Record<string, unknown>>;

const methods = new MethodRegistry().use(dora).use(lora);
let failed = false;
for (const name of readdirSync(given).sort()) failed = !(await check(join(given, name), name)) || failed;
process.exitCode = failed ? 1 : 0;

async function check(dir: string, name: string): Promise<boolean> {
  const before = await read(dir);
  const model = new PeftModel(baseFor(before));
  const { adapter, missing, unexpected } = await loadAdapter(model, { dir, methods });
  const again = mkdtempSync(join(tmpdir(), "peft-again-"));
  try {
    await saveAdapter(model, { dir: again });
    const after = await read(again);
    const tensors = compareTensors(before.tensors, after.tensors);
    const keys = compareKeys(before.config, after.config);
    console.log(
      `${name}: method ${adapter.method.name}, ${adapter.layers.length} layers, ${missing.length} missing, ${unexpected.length} unexpected\n` +
        `  tensors: ${tensors.equal} of ${before.tensors.size} equal byte for byte, ${tensors.others} others\n` +
        `  whole file equal: ${before.file.equals(after.file)}\n` +
        `  adapter_config.json: ${keys.equal} of ${Object.keys(before.config).length} keys equal; ` +
        `changed: ${keys.changed.join(", ") || "none"}; added: ${keys.added.join(", ") || "none"}`,
    );
    return (
      tensors.equal === before.tensors.size && tensors.others === 0 && keys.changed.length + keys.added.length === 0
    );
  } finally {
    rmSync(again, { recursive: true });
  }
}

interface AdapterFolder {
  readonly config: Json;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly file: Buffer;
}

async function read(dir: string): Promise<AdapterFolder> {
  const path = join(dir, "adapter_model.safetensors");
  const source = await openSafetensors(path);
  const tensors = new Map<string, StoredTensor>();
  for (const name of source.names) tensors.set(name, await source.stored(name));
  await source.close();
  const config = JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as Json;
  return { config, tensors, file: readFileSync(path) };
}

function compareTensors(
  before: AdapterFolder["tensors"],
  after: AdapterFolder["tensors"],
): { readonly equal: number; readonly others: number } {
  const equal = [...before].filter(([name, a]) => {
    const b = after.get(name);
    return b !== undefined && a.dtype === b.dtype && a.shape.join() === b.shape.join() && bytes(a).equals(bytes(b));
  }).length;
  return { equal, others: [...after.keys()].filter((name) => !before.has(name)).length };
}

function bytes({ data }: StoredTensor): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

function compareKeys(
  before: Json,
  after: Json,
): { readonly equal: number; readonly changed: readonly string[]; readonly added: readonly string[] } {
  const keys = Object.keys(before);
  const changed = keys.filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]));
  return { equal: keys.length - changed.length, changed, added: Object.keys(after).filter((key) => !(key in before)) };
}

function baseFor({ config, tensors }: AdapterFolder): BaseModel {
  const name = String(config["base_model_name_or_path"]);
  if (name === "gpt2") return gpt2Layers(name, tensors.get("base_model.model.score.weight")?.shape[0] ?? 2);
  const labels = tensors.get("base_model.model.classifier.weight")?.shape[0];
  if (!name.startsWith("bert-base")) throw new Error(`${name} is no base model that this script knows.`);
  return fromConfig(
    {
      model_type: "bert",
      architectures: ["BertForSequenceClassification"],
      vocab_size: 30522,
      hidden_size: 768,
      num_hidden_layers: 12,
      num_attention_heads: 12,
      intermediate_size: 3072,
      max_position_embeddings: 512,
      type_vocab_size: 2,
      layer_norm_eps: 1e-12,
      hidden_act: "gelu",
      hidden_dropout_prob: 0.1,
      attention_probs_dropout_prob: 0.1,
      initializer_range: 0.02,
      pad_token_id: 0,
    },
    { numLabels: labels ?? 2, seed: 1, name },
  );
}

/** The attention layers of GPT-2 small with a classifier, without a forward function. */
function gpt2Layers(name: string, labels: number): BaseModel {
  const sites = Array.from({ length: 12 }, (_, block): LayerSite => {
    const path = `transformer.h.${block}.attn.c_attn`;
    return {
      ...{ path, block, kind: "linear", role: "attention", inFeatures: 768, outFeatures: 2304, layout: "in_out" },
      ...{ weight: `${path}.weight`, bias: `${path}.bias` },
    };
  });
  const weights = sites.flatMap(({ weight, bias }): [string, StoredTensor][] => [
    [weight, zeros([768, 2304])],
    [bias as string, zeros([2304])],
  ]);
  const noForward = (): never => {
    throw new Error("Only the layers of this model are listed.");
  };
  return {
    ...{ name, sites, modelType: "gpt2", defaultTargets: ["c_attn"], headModules: ["score"] },
    configJson: { model_type: "gpt2", architectures: ["GPT2ForSequenceClassification"] },
    head: { kind: "sequenceClassification", labels: Array.from({ length: labels }, (_, i) => `LABEL_${i}`) },
    parameters: new Map([...weights, ["score.weight", zeros([labels, 768])]]),
    forward: noForward,
    loss: noForward,
  };
}
