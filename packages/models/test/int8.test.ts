import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  inputScales,
  isInt8,
  narrow,
  openSafetensors,
  quantize,
  widen,
  writeSafetensors,
  type BaseModel,
  type HostTensor,
  type Int8Tensor,
  type StoredTensor,
} from "@peftjs/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  architectureRegistry,
  builtInArchitectures,
  bytesByType,
  fromConfig,
  fromPretrained,
  roberta,
  savePretrained,
  type Frozen,
  type FrozenOptions,
  type FrozenType,
} from "../src/index.ts";
import { tinyConfig as config } from "./support/tinyConfig.ts";

const labels = ["no", "yes"];

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "int8-"))));
afterEach(() => rm(dir, { recursive: true }));

const inInt8 = ({ parameters }: BaseModel): string[] =>
  [...parameters].filter(([, tensor]) => isInt8(tensor)).map(([name]) => name);

/** The weights of the linear layers of the blocks. */
const blockWeights = (trunk: string): string[] =>
  [0, 1].flatMap((block) =>
    ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
      .concat("intermediate.dense", "output.dense")
      .map((layer) => `${trunk}.encoder.layer.${block}.${layer}.weight`),
  );

/** The normalisation whose output a layer of the blocks reads, below the trunk. */
function normBefore(name: string, modelType: string): string | null {
  const [, block, layer] = /layer\.(\d)\.(attention\.self|intermediate\.dense)/u.exec(name) ?? [];
  if (block === undefined) return null;
  const isAttention = layer === "attention.self";
  if (modelType === "roberta-prelayernorm")
    return `encoder.layer.${block}.${isAttention ? "attention" : "intermediate"}.LayerNorm`;
  if (!isAttention) return `encoder.layer.${block}.attention.output.LayerNorm`;
  return block === "0" ? "embeddings.LayerNorm" : "encoder.layer.0.output.LayerNorm";
}

/** Fresh normalisations are all alike: gives each its own values, in the file. */
async function shiftNorms(folder: string): Promise<void> {
  const model = await fromPretrained(folder);
  [...model.parameters].forEach(([name, { data }], place) => {
    if (name.includes("LayerNorm")) for (let i = 0; i < data.length; i++) data[i] = 0.1 + ((place * 7 + i * 3) % 11);
  });
  await savePretrained(model, folder);
}

describe.each([
  ["bert", "bert", ["bert.pooler.dense.weight"]],
  ["roberta", "roberta", []],
  ["roberta-prelayernorm", "roberta_prelayernorm", []],
] as const)("%s", (modelType, trunk, rest) => {
  const saved = { ...config, model_type: modelType };

  it("holds the linear layers in eight bits, a factor for each output, and the rest in float32", async () => {
    await savePretrained(fromConfig(saved, { labels, seed: 5 }), dir);
    await shiftNorms(dir);
    const [wide, model] = [await fromPretrained(dir), await fromPretrained(dir, { frozen: "int8" })];
    expect(inInt8(model)).toEqual([...blockWeights(trunk), ...rest]);
    const values = (name: string): HostTensor => wide.parameters.get(name) as HostTensor;
    for (const [name, tensor] of model.parameters) {
      const norm = normBefore(name, modelType);
      const [weight, bias] = ["weight", "bias"].map((part) => norm && values(`${trunk}.${norm}.${part}`).data);
      const smoothed =
        weight && bias ? { inputScales: inputScales(values(name), { axis: 0, norm: { weight, bias } }) } : {};
      expect(tensor, name).toEqual(isInt8(tensor) ? quantize(values(name), { axis: 0, ...smoothed }) : values(name));
    }
  });
});

describe("which weights", () => {
  const model = (frozen: Frozen, head: "none" | "maskedLM" = "none"): BaseModel =>
    fromConfig(config, { head, seed: 5, frozen });
  const words = "embeddings.word_embeddings.weight";

  it("are those of `fromPretrained`, where a model is drawn", async () => {
    await savePretrained(fromConfig(config, { labels, seed: 5 }), dir);
    const options = { labels, frozen: { type: "int8", embeddings: "int8", exclude: ["query"] } } as const;
    const drawn = fromConfig(config, { seed: 5, ...options });
    expect((await fromPretrained(dir, options)).parameters).toEqual(drawn.parameters);
    expect(drawn.parameters.get("classifier.weight")?.dtype).toBe("float32");
  });

  it("leave out what is excluded: layers by the ends of their paths, and modules", () => {
    const all = inInt8(model("int8"));
    const without = (...exclude: string[]): string[] => inInt8(model({ type: "int8", exclude }));
    expect(without("query", "pooler.dense")).toEqual(all.filter((name) => !/query|pooler/u.test(name)));
    expect(without("layer.1")).toEqual(all.filter((name) => !name.includes("layer.1")));
    expect(without("encoder.layer.0.output.dense")).toEqual(all.filter((name) => !name.includes("layer.0.output")));
  });

  it("take in embeddings if asked for, a factor for each word, and with them a tied decoder", () => {
    const wide = model("float32", "maskedLM").parameters.get(`bert.${words}`) as HostTensor;
    const { parameters } = model({ type: "int8", embeddings: "int8", backward: "float32" }, "maskedLM");
    const table = parameters.get(`bert.${words}`);
    expect(table).toEqual(quantize(wide, { axis: 0, backward: "float32" }));
    expect((table as { readonly scales: Float32Array }).scales).toHaveLength(20);
    expect(parameters.get("cls.predictions.decoder.weight")).toBe(table);
    expect(parameters.get("bert.embeddings.position_embeddings.weight")?.dtype).toBe("float32");
    expect(model({ type: "int8", embeddings: "int8", exclude: ["word_embeddings"] }).parameters.get(words)).toEqual(
      wide,
    );
  });

  it("may be embeddings alone, or others than those in two bytes", () => {
    const wide = model("float32").parameters;
    const embeddings = model({ type: "float32", embeddings: "int8" });
    expect(inInt8(embeddings)).toEqual([words]);
    const both = model({ type: "int8", embeddings: "bfloat16" });
    expect(both.parameters.get(words)).toEqual(narrow(wide.get(words) as HostTensor, "bfloat16"));
    expect(inInt8(both)).toEqual(inInt8(model("int8")));
    expect(both.parameters.get("pooler.dense.bias")?.dtype).toBe("float32");
  });

  it("have their factors on the other axis where a layer is stored [in, out]", () => {
    // A family whose layers are the transposed ones, as GPT-2's.
    const transposed = {
      ...roberta,
      modelType: "transposed",
      parameters: (...args: Parameters<typeof roberta.parameters>) =>
        roberta
          .parameters(...args)
          .map((spec) =>
            /dense|query|key|value/u.test(spec.name) ? { ...spec, shape: spec.shape.toReversed() } : spec,
          ),
      sites: (...args: Parameters<typeof roberta.sites>) =>
        roberta
          .sites(...args)
          .map((site) => (site.kind === "linear" ? ({ ...site, layout: "in_out" } as const) : site)),
    };
    const { parameters } = fromConfig(
      { ...config, model_type: "transposed" },
      {
        ...{ head: "none", frozen: "int8" },
        architectures: architectureRegistry(...builtInArchitectures.values(), transposed),
      },
    );
    const up = parameters.get("encoder.layer.0.intermediate.dense.weight");
    expect(up).toMatchObject({ dtype: "int8", shape: [8, 16], axis: 1 });
    expect((up as { readonly scales: Float32Array }).scales).toHaveLength(16);
  });
});

describe("the file", () => {
  it.each(["float16", "bfloat16"] as const)("may be in %s", async (dtype) => {
    await savePretrained(fromConfig(config, { head: "none", seed: 5 }), dir, { dtype });
    const [wide, model] = [await fromPretrained(dir), await fromPretrained(dir, { frozen: "int8" })];
    const name = "encoder.layer.0.output.dense.weight";
    expect(model.parameters.get(name)).toEqual(quantize(wide.parameters.get(name) as HostTensor, { axis: 0 }));
    expect(model.parameters.get("embeddings.LayerNorm.weight")?.dtype).toBe("float32");
  });

  it("may be several", async () => {
    await savePretrained(fromConfig(config, { head: "none", seed: 5 }), dir);
    const whole = await fromPretrained(dir, { frozen: "int8" });
    await shard();
    expect((await fromPretrained(dir, { frozen: "int8", name: dir })).parameters).toEqual(whole.parameters);
  });

  it("lacks a head: that is drawn, to be trained, and float32", async () => {
    await savePretrained(fromConfig(config, { head: "maskedLM", seed: 5 }), dir);
    const { parameters, report } = await fromPretrained(dir, { labels, frozen: "int8" });
    expect(report.missing).toContain("bert.pooler.dense.weight");
    expect(parameters.get("bert.pooler.dense.weight")?.dtype).toBe("float32");
    expect(parameters.get("classifier.weight")?.dtype).toBe("float32");
  });

  it("is in float32 when the model is saved again, or in the type asked for: the same numbers", async () => {
    const model = fromConfig(config, { head: "maskedLM", seed: 5, frozen: { type: "int8", embeddings: "int8" } });
    for (const dtype of ["float32", "float16"] as const) {
      await savePretrained(model, dir, { dtype });
      const { parameters, configJson } = await fromPretrained(dir, { frozen: "auto" });
      for (const [name, tensor] of model.parameters)
        expect(parameters.get(name), name).toEqual(dtype === "float32" ? widen(tensor) : narrow(tensor, dtype));
      expect(configJson["torch_dtype"]).toBe(dtype);
    }
    // What was quantized once is quantized to itself, or, where factors of the inputs follow from rounded weights now, to its neighbour.
    await savePretrained(model, dir);
    const again = await fromPretrained(dir, { frozen: { type: "int8", embeddings: "int8" } });
    for (const name of inInt8(model)) {
      const [first, second] = [model, again].map(({ parameters }) => parameters.get(name) as Int8Tensor);
      const largest = Math.max(...first!.data.map((value, i) => Math.abs(value - second!.data[i]!)));
      expect(largest, name).toBeLessThanOrEqual(first!.inputScales === undefined ? 0 : 1);
    }
  });
});

it("tells how many bytes are held how", async () => {
  const model = fromConfig(config, { head: "maskedLM", frozen: { type: "int8", embeddings: "bfloat16" } });
  await savePretrained(model, dir);
  // Twelve layers, one of the head: values and factors, of their inputs too where they read a normalisation. The table once, though the
  // decoder has it too.
  const int8 = 2 * (4 * (64 + 4 * 8) + (128 + 4 * 16) + (128 + 4 * 8) + 4 * 4 * 8) + (64 + 4 * 8);
  expect(bytesByType(model)).toMatchObject({ int8, bfloat16: 2 * 20 * 8 });
  const { report } = await fromPretrained(dir, { frozen: { type: "int8", embeddings: "bfloat16" } });
  expect(report.frozen).toEqual(bytesByType(model));
  expect((await fromPretrained(dir)).report.frozen).toEqual({
    float32: 4 * [...new Set(model.parameters.values())].reduce((sum, { data }) => sum + data.length, 0),
  });
});

describe("what is wrong", () => {
  const refused = (frozen: unknown): unknown => {
    try {
      return fromConfig(config, { head: "none", frozen: frozen as Frozen });
    } catch (error) {
      return error;
    }
  };

  it.each<[string, unknown, string, RegExp]>([
    ["a type", "float8", "DTYPE_UNSUPPORTED", /"float8".*"float32", "float16", "bfloat16", "int8", "auto"/u],
    ["a type of embeddings", { type: "int8", embeddings: "int4" }, "DTYPE_UNSUPPORTED", /"int4"/u],
    ["a product", { type: "int8", backward: "float16" }, "CONFIG_INVALID", /`backward`.*"int8" or "float32"/u],
    [
      "options of int8 alone",
      { type: "float16", exclude: ["query"], cache: "x" },
      "CONFIG_INVALID",
      /`exclude`, `cache`/u,
    ],
    [
      "a layer",
      { type: "int8", exclude: ["key", "qurey"] },
      "TARGET_NOT_FOUND",
      /"qurey".*Did you mean "query".*dense/u,
    ],
  ])("%s", (_, frozen, code, message) => {
    expect(refused(frozen)).toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  it("is said before the weights are looked for", async () => {
    await savePretrained(fromConfig(config, { head: "none" }), dir);
    await rm(join(dir, "model.safetensors"));
    await expect(fromPretrained(dir, { frozen: "int4" as FrozenType })).rejects.toMatchObject({
      code: "DTYPE_UNSUPPORTED",
    });
  });

  it("is a weight that is no number, by its name", async () => {
    const model = fromConfig(config, { head: "none" });
    const name = "encoder.layer.1.output.dense.weight";
    (model.parameters.get(name) as HostTensor).data[3] = NaN;
    await savePretrained(model, dir);
    const options: FrozenOptions = { type: "int8", exclude: ["layer.1.output.dense"] };
    await expect(fromPretrained(dir, { frozen: "int8" })).rejects.toMatchObject({
      code: "NOT_FINITE",
      message: expect.stringContaining(name) as string,
    });
    expect((await fromPretrained(dir, { frozen: options })).parameters.get(name)?.data[3]).toBeNaN();
  });
});

/** Divides the file of `dir` into two. */
async function shard(): Promise<void> {
  const file = await openSafetensors(dir);
  const shards = [new Map<string, StoredTensor>(), new Map<string, StoredTensor>()] as const;
  for (const [i, name] of file.names.entries())
    (i % 2 === 0 ? shards[0] : shards[1]).set(name, await file.tensor(name));
  await file.close();
  await rm(join(dir, "model.safetensors"));
  const name = (i: number): string => `model-0000${i + 1}-of-00002.safetensors`;
  for (const [i, tensors] of shards.entries()) await writeSafetensors(join(dir, name(i)), tensors);
  const weight_map = Object.fromEntries(
    shards.flatMap((tensors, i) => [...tensors.keys()].map((key) => [key, name(i)])),
  );
  await writeFile(join(dir, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
}
