import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  hotSwapAdapter,
  int32,
  loadAdapter,
  MethodRegistry,
  peft,
  PeftModel,
  saveAdapter,
  type BaseModel,
  type HostTensor,
  type Method,
  type Named,
} from "@peftjs/core";
import { toHost, toTensor } from "@peftjs/core/internal";
import { fromConfig } from "@peftjs/models";
import { scratchFolders, useCpuBackend } from "@peftjs/testkit";
import { readAdapterConfig, readAdapterTensors } from "@peftjs/testkit/conformance";
import type * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { prefixTuning, promptTuning, pTuning } from "../index.ts";

beforeAll(useCpuBackend);

const config = {
  ...{ model_type: "bert", vocab_size: 20, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2 },
  ...{ intermediate_size: 12, max_position_embeddings: 12, type_vocab_size: 2, pad_token_id: 0 },
};
const tiny = (size = 8): BaseModel => fromConfig({ ...config, hidden_size: size }, { labels: ["a", "b"], seed: 3 });
const batch = { input_ids: int32([5, 6, 7, 8], [2, 2]), attention_mask: int32([1, 1, 1, 1], [2, 2]) };
const registry = new MethodRegistry().use(promptTuning).use(prefixTuning).use(pTuning);
const fresh = scratchFolders();

function logits(model: PeftModel, inputs: Named<HostTensor> = batch): HostTensor {
  const tensors = (values: Named<Parameters<typeof toTensor>[0]>): Record<string, tf.Tensor> =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, toTensor(value)]));
  const groups = { frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) };
  return toHost(model.forward(groups, tensors(inputs), { training: false })["logits"] as tf.Tensor);
}

const coded = (code: string, message?: RegExp): unknown =>
  expect.objectContaining({
    code,
    ...(message === undefined ? {} : { message: expect.stringMatching(message) as string }),
  });

const tableOf = (model: PeftModel): HostTensor => model.trainable()["default.prompt.table"] as HostTensor;

describe("the start of prompt tuning", () => {
  it("repeats the embeddings of a text, or cuts them", async () => {
    const base = tiny();
    const words = base.parameters.get("bert.embeddings.word_embeddings.weight") as HostTensor;
    const rows = (ids: readonly number[]): number[] => ids.flatMap((id) => [...words.data.slice(id * 8, id * 8 + 8)]);
    const started = async (numVirtualTokens: number): Promise<number[]> => {
      const settings = { numVirtualTokens, promptTuningInit: "TEXT" as const, initTokenIds: [7, 3, 9] };
      return [...tableOf(await peft(base).use(promptTuning, settings).apply()).data];
    };
    expect(await started(5)).toEqual(rows([7, 3, 9, 7, 3]));
    expect(await started(2)).toEqual(rows([7, 3]));
  });

  it("is refused without ids, or with ids of another vocabulary", async () => {
    const start = (initTokenIds: number[] | null): Promise<PeftModel> =>
      peft(tiny()).use(promptTuning, { promptTuningInit: "TEXT", initTokenIds }).apply();
    await expect(start(null)).rejects.toThrow(coded("CONFIG_INVALID", /initTokenIds/u));
    await expect(start([4, 20])).rejects.toThrow(coded("CONFIG_INVALID", /20 tokens/u));
  });

  it("is named in the file when the file can say which text it was", async () => {
    const settings = { numVirtualTokens: 2, promptTuningInit: "TEXT" as const, initTokenIds: [7] };
    const written = async (more: object): Promise<unknown> => {
      const model = await peft(tiny())
        .use(promptTuning, { ...settings, ...more })
        .apply();
      return readAdapterConfig(await saveAdapter(model, { dir: fresh() }));
    };
    expect(await written({})).toMatchObject({ prompt_tuning_init: "RANDOM", prompt_tuning_init_text: null });
    const said = { promptTuningInitText: "good or bad", tokenizerNameOrPath: "bert-base-uncased" };
    expect(await written(said)).toMatchObject({ prompt_tuning_init: "TEXT", prompt_tuning_init_text: "good or bad" });
  });
});

describe("the start of the encoders", () => {
  it.each([false, true])("zero keys and values, projected: %s", async (prefixProjection) => {
    const settings = { numVirtualTokens: 2, prefixProjection, initWeights: "zero" as const };
    const model = await peft(tiny()).use(prefixTuning, settings).apply();
    const dir = await saveAdapter(model, { dir: fresh() });
    const table = (await readAdapterTensors(dir)).get("prompt_embeddings") as HostTensor;
    expect(table.shape).toEqual([2, 2 * 2 * 8]);
    expect(table.data.every((value: number) => value === 0)).toBe(true);
    expect(readAdapterConfig(dir)).toMatchObject({ init_weights: "zero", prefix_projection: prefixProjection });
    // They take their share of the attention.
    expect(logits(model).data).not.toEqual(logits(new PeftModel(tiny())).data);
  });

  it("refuses a new LSTM and reads the file of one", async () => {
    const lstm = { numVirtualTokens: 2, encoderReparameterizationType: "LSTM" } as const;
    await expect(peft(tiny()).use(pTuning, lstm).apply()).rejects.toThrow(coded("CONFIG_INVALID", /MLP/u));
    const model = await peft(tiny()).use(pTuning, { numVirtualTokens: 2 }).apply();
    const dir = await saveAdapter(model, { dir: fresh() });
    const json = { ...readAdapterConfig(dir), encoder_reparameterization_type: "LSTM", encoder_dropout: 0.1 };
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify(json));
    const loaded = new PeftModel(tiny());
    await loadAdapter(loaded, { dir, methods: registry });
    const again = await saveAdapter(loaded, { dir: fresh() });
    expect(readAdapterConfig(again)).toEqual(json);
  });
});

describe("files", () => {
  it("of an encoder hold its result, which goes on learning as a table", async () => {
    const model = await peft(tiny()).use(pTuning, { numVirtualTokens: 2, encoderHiddenSize: 5 }).apply();
    const dir = await saveAdapter(model, { dir: fresh() });
    const loaded = new PeftModel(tiny());
    await loadAdapter(loaded, { dir, methods: registry });
    const onPrompt = Object.keys(loaded.trainable()).filter((key) => key.startsWith("default.prompt."));
    expect(onPrompt).toEqual(["default.prompt.table"]);
    expect([...logits(loaded).data]).toEqual(
      [...logits(model).data].map((value) => expect.closeTo(value, 5) as number),
    );
  });

  it("of another model are refused by name", async () => {
    const model = await peft(tiny()).use(promptTuning, { numVirtualTokens: 2 }).apply();
    const dir = await saveAdapter(model, { dir: fresh() });
    const loading = loadAdapter(new PeftModel(tiny(16)), { dir, methods: registry });
    await expect(loading).rejects.toThrow(coded("CONFIG_INVALID", /tokenDim is 8, but this model's is 16/u));
  });

  it("without the head are refused by the head's name", async () => {
    const model = await peft(tiny()).use(promptTuning, { numVirtualTokens: 2, modulesToSave: [] }).apply();
    const dir = await saveAdapter(model, { dir: fresh() });
    expect([...(await readAdapterTensors(dir)).keys()]).toEqual(["prompt_embeddings"]);
    const json = { ...readAdapterConfig(dir), task_type: "SEQ_CLS", modules_to_save: ["classifier", "score"] };
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify(json));
    const loading = loadAdapter(new PeftModel(tiny()), { dir, methods: registry });
    await expect(loading).rejects.toThrow(coded("ADAPTER_TENSORS", /saved module "classifier"/u));
  });

  it("take the place of another table of as many tokens, however that started", async () => {
    const model = await peft(tiny()).use(promptTuning, { numVirtualTokens: 2 }, { seed: 1 }).apply();
    const other = await peft(tiny())
      .use(promptTuning, { numVirtualTokens: 2, promptTuningInit: "SAMPLE_VOCAB" })
      .apply();
    const { structure } = model;
    await hotSwapAdapter(model, { dir: await saveAdapter(other, { dir: fresh() }), methods: registry });
    expect(model.structure).toBe(structure);
    expect(logits(model).data).toEqual(logits(other).data);
    const longer = await peft(tiny()).use(promptTuning, { numVirtualTokens: 3 }).apply();
    const dir = await saveAdapter(longer, { dir: fresh() });
    await expect(hotSwapAdapter(model, { dir, methods: registry })).rejects.toThrow(coded("HOT_SWAP_UNSUPPORTED"));
  });
});

describe("refusals", () => {
  const all = [promptTuning, prefixTuning, pTuning] as unknown as readonly Method[];

  it.each(all.map((method) => [method.name, method] as const))("of %s", async (_, method) => {
    const model = await peft(tiny()).use(method, { numVirtualTokens: 2 }).apply();
    const scaled = { ...batch, adapter_scale: model.adapterScale({ default: 2 }) };
    expect(() => logits(model, scaled)).toThrow(coded("SCALE_INVALID", /"default"/u));
    model.setActive("default", { mixed: true });
    const mixed = { ...batch, adapter_index: model.adapterIndex(["default", "__base__"]) };
    expect(() => logits(model, mixed)).toThrow(coded("MIXED_UNSUPPORTED", /virtual tokens/u));
    model.setActive("default");
    const long = {
      input_ids: int32(
        Array.from({ length: 11 }, () => 5),
        [1, 11],
      ),
    };
    expect(() => logits(model, long)).toThrow(coded("SEQUENCE_TOO_LONG", /adapters take 2 .* maxLength 10/u));
  });

  it("of more virtual tokens than the model has positions for", async () => {
    const model = await peft(tiny()).use(promptTuning, { numVirtualTokens: 12 }).apply();
    expect(() => logits(model)).toThrow(coded("SEQUENCE_TOO_LONG", /fewer virtual tokens/u));
  });
});
