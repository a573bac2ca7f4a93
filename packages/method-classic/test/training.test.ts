import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGenerator, float32, int32, openSafetensors, peft, saveAdapter } from "@peftjs/core";
import type { BaseModel, HostTensor, Method, Named, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { bert, countParameters, fromConfig, roberta } from "@peftjs/models";
import { logits } from "@peftjs/testkit/conformance";
import { Trainer } from "@peftjs/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bitfit, full, head } from "../src/index.ts";

const config = {
  model_type: "roberta",
  vocab_size: 40,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 12,
  max_position_embeddings: 20,
  type_vocab_size: 1,
  hidden_act: "gelu",
  layer_norm_eps: 1e-5,
  initializer_range: 0.3,
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
  pad_token_id: 1,
};
const methods: readonly Method[] = [full, bitfit, head].map((method) => method as unknown as Method);
const isHead = (name: string): boolean => name.startsWith("classifier.");

function base(): BaseModel {
  return fromConfig(config, { labels: ["a", "b"], seed: 3 });
}

const batch: Named<HostTensor> = {
  input_ids: int32([0, 7, 9, 2, 0, 11, 2, 1], [2, 4]),
  attention_mask: int32([1, 1, 1, 1, 1, 1, 1, 0], [2, 4]),
  labels: int32([0, 1], [2]),
};

let engine: Engine;
let folder: string;
beforeAll(async () => {
  engine = await createEngine({ kind: "onnx", threads: 1 });
  folder = mkdtempSync(join(tmpdir(), "peftjs-classic-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const output = async (model: PeftModel): Promise<number[]> => [...(await logits(model, { engine, batch })).data];

async function trained(method: Method): Promise<PeftModel> {
  const model = await peft(base()).use(method).apply();
  const trainer = new Trainer({
    model,
    engine,
    train: { batchesPerEpoch: 5, batchAt: () => batch },
    config: { epochs: 1, learningRate: 0.05, evalEvery: "never" },
  });
  await trainer.train();
  await trainer.dispose();
  return model;
}

/** Names of base parameters whose values differ between two models. */
function changed(before: BaseModel, after: BaseModel): string[] {
  return [...before.parameters.keys()].filter((name) => {
    const [a, b] = [before.parameters.get(name)!.data, after.parameters.get(name)!.data];
    return a.some((value, i) => value !== b[i]);
  });
}

describe.each(methods.map((method) => [method.name, method] as const))("%s", (_, method) => {
  it("trains what it says and nothing else", async () => {
    const model = await trained(method);
    const moved = changed(base(), model.mergeAndUnload());
    const all = [...base().parameters.keys()];
    const allowed = {
      full: all,
      bitfit: all.filter((name) => name.endsWith(".bias") || isHead(name)),
      head: all.filter(isHead),
    }[method.name as "full" | "bitfit" | "head"];
    expect(moved.filter((name) => !allowed.includes(name))).toEqual([]);
    // The gradient of a key's bias is zero: softmax ignores what is the same for every key.
    const learns = allowed.filter((name) => !/self\.key\.bias|token_type_embeddings/.test(name));
    expect(learns.filter((name) => !moved.includes(name))).toEqual([]);
    expect(changed(base(), model.base)).toEqual([]);
  });
});

describe("counts", () => {
  /** RoBERTa-base and BERT-base from shapes alone. */
  const families = [
    [
      roberta,
      {
        model_type: "roberta",
        vocab_size: 50265,
        max_position_embeddings: 514,
        type_vocab_size: 1,
        pad_token_id: 1,
        layer_norm_eps: 1e-5,
      },
      102_144,
      124_647_170,
    ],
    [
      bert,
      {
        model_type: "bert",
        vocab_size: 30522,
        max_position_embeddings: 512,
        type_vocab_size: 2,
        pad_token_id: 0,
        layer_norm_eps: 1e-12,
      },
      102_912,
      109_483_778,
    ],
  ] as const;

  it.each(families)("bitfit trains what the literature counts", (family, own, biases, total) => {
    const parsed = family.parseConfig({
      ...own,
      hidden_size: 768,
      num_hidden_layers: 12,
      num_attention_heads: 12,
      intermediate_size: 3072,
      hidden_act: "gelu",
    } as never);
    const specs = family.parameters(parsed, { kind: "sequenceClassification", labels: ["a", "b"] });
    const picked = specs.filter(
      ({ name }) => !isHead(name) && bitfit.trains!({ name, targets: [], config: { modulesToSave: null } }),
    );
    expect(countParameters(picked)).toBe(biases);
    expect(countParameters(specs)).toBe(total);
  });

  it("the report counts every parameter once for full, and adds the head's copy for the others", async () => {
    const size = [...base().parameters.values()].reduce((sum, { data }) => sum + data.length, 0);
    const headSize = 8 * 8 + 8 + 8 * 2 + 2;
    const report = async (method: Method) => (await peft(base()).use(method).apply()).trainableReport();
    expect(await report(methods[0]!)).toMatchObject({ trainable: size, total: size, percent: 100 });
    expect((await report(methods[2]!)).trainable).toBe(headSize);
    // Biases of a block: query, key, value, output 4·8, two layer norms 2·8, feed-forward 12 + 8; and the embeddings' norm 8.
    expect((await report(methods[1]!)).trainable).toBe(2 * (4 * 8 + 2 * 8 + 20) + 8 + headSize);
  });
});

describe("files for the Python library", () => {
  it.each([
    [bitfit as unknown as Method, "all"],
    [head as unknown as Method, "none"],
  ] as const)("$name is a LoRA that changes nothing", async (method, bias) => {
    const model = await trained(method);
    const dir = join(folder, `${method.name}-file`);
    await saveAdapter(model, { dir });
    const json = JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as Record<string, unknown>;
    expect(json).toMatchObject({
      peft_type: "LORA",
      r: 1,
      lora_alpha: 1,
      bias,
      target_modules: ["0.attention.self.query"],
      modules_to_save: ["classifier", "score"],
    });
    const file = await openSafetensors(join(dir, "adapter_model.safetensors"));
    const query = "base_model.model.roberta.encoder.layer.0.attention.self.query";
    const isZero = async (name: string): Promise<boolean> =>
      (await file.tensor(`${query}.${name}`)).data.every((value) => value === 0);
    expect(await isZero("lora_A.weight")).toBe(true);
    expect(await isZero("lora_B.weight")).toBe(true);
    expect(file.names.includes(`${query}.base_layer.bias`)).toBe(bias === "all");
    await file.close();
  });
});

describe("the carrier's zeros", () => {
  it("are not trained and take no part in the output", async () => {
    const model = await peft(base()).use(bitfit).apply();
    const adapter = model.adapters.get("default")!;
    expect([...adapter.params.keys()]).toEqual([]);
    expect([...adapter.buffers.keys()]).toHaveLength(2);
    const expected = await output(model);
    const generator = createGenerator(1);
    for (const [key, { shape, data }] of adapter.buffers)
      adapter.buffers.set(key, float32(generator.normal(data.length), shape));
    expect(await output(model)).toEqual(expected);
  });
});
