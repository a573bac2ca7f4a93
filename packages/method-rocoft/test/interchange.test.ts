import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  loadAdapter,
  MethodRegistry,
  openSafetensors,
  peft,
  PeftModel,
  saveAdapter,
  widen,
  writeSafetensors,
} from "@peftjs/core";
import type { HostTensor, Method } from "@peftjs/core";
import { scratchFolders, useCpuBackend } from "@peftjs/testkit";
import { beforeAll, describe, expect, it } from "vitest";
import type { RocoftConfig } from "../src/config.ts";
import { rocoft } from "../src/method.ts";
import { bert, inOut, merged, refusal, trained } from "./tinyBert.ts";

beforeAll(() => {
  useCpuBackend();
});

const fresh = scratchFolders();
const methods = new MethodRegistry().use(rocoft);
const PREFIX = "base_model.model.";
const QUERY = "bert.encoder.layer.0.attention.self.query";

async function reloaded(dir: string, base = bert()): Promise<PeftModel> {
  const model = new PeftModel(base);
  await loadAdapter(model, {
    ...{ dir, methods },
    onWarning: (message) => {
      throw new Error(message);
    },
  });
  return model;
}

function readConfig(dir: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as Record<string, unknown>;
}

async function readTensors(dir: string): Promise<Map<string, HostTensor>> {
  const file = await openSafetensors(join(dir, "adapter_model.safetensors"));
  const entries = await Promise.all(file.names.map(async (name) => [name, await file.tensor(name)] as const));
  await file.close();
  return new Map(entries);
}

async function written(model: PeftModel, as: string): Promise<string> {
  const dir = fresh();
  await saveAdapter(model, { dir, as });
  return dir;
}

describe("rows and columns as LoRA", () => {
  it.each<[string, Partial<RocoftConfig>]>([
    ["rows", {}],
    ["columns", { mode: "column" }],
    ["random rows without biases", { select: "random", bias: "none" }],
    ["random columns, learned as absolute values", { mode: "column", select: "random", parameterisation: "absolute" }],
    ["more rows than some layers have", { rank: 10 }],
    ["a rank of its own for some layers", { rank: 2, rankPattern: { query: 1 } }],
    ["a restricted head", { head: "restricted", rank: 3 }],
    ["all biases and the norms", { bias: "all", norms: "train" }],
  ])("say the same to the bit, and come back: %s", async (_, config) => {
    const model = await trained(config);
    const dir = await written(model, "lora");
    const again = await reloaded(dir);
    expect(again.adapters.get("default")?.method.name).toBe("rocoft");
    expect(merged(again)).toEqual(merged(model));
    // As its own file, too.
    const own = fresh();
    await saveAdapter(again, { dir: own });
    expect(merged(await reloaded(own))).toEqual(merged(model));
  });

  it("have a one-hot factor, and W₀ + B·A is the merged weight to the bit", async () => {
    const model = await trained({ rank: 2, select: "last" });
    const tensors = await readTensors(await written(model, "lora"));
    const [a, b] = ["A", "B"].map((name) => tensors.get(`${PREFIX}${QUERY}.lora_${name}.weight`) as HostTensor);
    expect([a?.shape, b?.shape]).toEqual([
      [2, 8],
      [8, 2],
    ]);
    expect([...(b as HostTensor).data.subarray(12)]).toEqual([1, 0, 0, 1]);
    const base = widen(model.base.parameters.get(`${QUERY}.weight`)!).data;
    const sum = Float32Array.from(base, (value, n) => {
      const [i, j] = [Math.floor(n / 8), n % 8];
      const product = [0, 1].reduce((total, k) => total + b!.data[i * 2 + k]! * a!.data[k * 8 + j]!, 0);
      return value + product;
    });
    expect(merged(model)[`${QUERY}.weight`]).toEqual(sum);
  });

  it("say in the config what LoRA needs to know", async () => {
    const dir = await written(await trained({ mode: "column", rank: 10 }), "lora");
    const config = readConfig(dir);
    expect(config).toMatchObject({
      ...{ peft_type: "LORA", r: 10, lora_alpha: 10, lora_bias: true, bias: "none", lora_dropout: 0 },
      ...{ use_rslora: false, fan_in_fan_out: false, modules_to_save: ["classifier", "score"], task_type: "SEQ_CLS" },
    });
    // Only the second layer of a block's feed-forward has more than 8 inputs.
    const clamped = Object.entries(config["rank_pattern"] as Record<string, number>);
    expect(clamped).toHaveLength(10);
    expect(new Set(clamped.map(([, rank]) => rank))).toEqual(new Set([8]));
    expect(config["alpha_pattern"]).toEqual(config["rank_pattern"]);
    const back = (await reloaded(dir)).adapters.get("default")?.config as RocoftConfig;
    expect(back).toMatchObject({ mode: "column", rank: 10, bias: "targets", indices: {} });
    expect(Object.values(back.rankPattern)).toEqual(Array<number>(10).fill(8));
  });

  it("of layers that are stored [in, out] say so", async () => {
    for (const mode of ["row", "column"] as const) {
      const model = await trained({ mode, select: "random" }, inOut());
      const dir = await written(model, "lora");
      expect(readConfig(dir)["fan_in_fan_out"]).toBe(true);
      expect(merged(await reloaded(dir, inOut()))).toEqual(merged(model));
    }
  });

  it("are found in any order", async () => {
    const model = await trained({ rank: 2, bias: "none", targetModules: ["query"], indices: { query: [1, 5] } });
    const dir = await written(model, "lora");
    const tensors = await readTensors(dir);
    const name = `${PREFIX}${QUERY}.lora_`;
    const [a, b] = [tensors.get(`${name}A.weight`) as HostTensor, tensors.get(`${name}B.weight`) as HostTensor];
    const swapped = { ...a, data: Float32Array.from([...a.data.slice(8), ...a.data.slice(0, 8)]) };
    tensors.set(`${name}A.weight`, swapped);
    tensors.set(`${name}B.weight`, { ...b, data: b.data.map((_, n) => b.data[n % 2 === 0 ? n + 1 : n - 1]!) });
    await writeSafetensors(join(dir, "adapter_model.safetensors"), tensors);
    const again = await reloaded(dir);
    expect(merged(again)).toEqual(merged(model));
    expect((again.adapters.get("default")?.config as RocoftConfig).indices[QUERY]).toEqual([1, 5]);
    tensors.set(`${name}A.weight`, { ...a, data: a.data.map(() => 1) });
    tensors.set(`${name}B.weight`, { ...b, data: b.data.map(() => 1) });
    await writeSafetensors(join(dir, "adapter_model.safetensors"), tensors);
    const { code, message } = await refusal(reloaded(dir));
    expect([code, message]).toEqual([
      "INTERCHANGE_UNSUPPORTED",
      expect.stringContaining(`neither is B of every layer one-hot`),
    ]);
    expect(message).toContain(QUERY);
  });

  it("have the scale 1", async () => {
    const dir = await written(await trained({ targetModules: ["query"] }), "lora");
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify({ ...readConfig(dir), lora_alpha: 6 }));
    const { code, message } = await refusal(reloaded(dir));
    expect(code).toBe("INTERCHANGE_UNSUPPORTED");
    expect(message).toMatch(/have scale 2; .*lora_alpha equal to r/u);
  });

  it("have biases everywhere or nowhere", async () => {
    const base = bert();
    const biasless = base.sites.map((site) => (site.role === "query" ? { ...site, bias: null } : site));
    const model = await trained({}, { ...base, sites: biasless });
    const { code, message } = await refusal(written(model, "lora"));
    expect(code).toBe("INTERCHANGE_UNSUPPORTED");
    expect(message).toMatch(/"bert\.encoder\.layer\.0\.attention\.self\.query" has none.*bias: "none"/u);
  });
});

describe("entries as SHiRA", () => {
  it.each<[string, Partial<RocoftConfig>, number]>([
    ["a share", { density: 0.2 }, 1],
    ["a number that needs more than rank 1", { count: 25 }, 2],
    ["a rank's worth", { matchRank: 2 }, 2],
    ["absolute values", { count: 5, parameterisation: "absolute" }, 1],
  ])("say the same to the bit, and come back: %s", async (_, config, rank) => {
    const model = await trained({ mode: "entries", bias: "none", ...config });
    const dir = await written(model, "shira");
    expect(readConfig(dir)).toMatchObject({ peft_type: "SHIRA", r: rank, mask_type: "random", fan_in_fan_out: false });
    const tensors = await readTensors(dir);
    const indices = tensors.get(`${PREFIX}${QUERY}.shira_indices`);
    expect([indices?.dtype, indices?.shape]).toEqual(["int32", [2, rank * 16]]);
    const again = await reloaded(dir);
    expect(merged(again)).toEqual(merged(model));
    expect(again.adapters.get("default")?.config).toMatchObject({ mode: "entries", matchRank: rank, bias: "none" });
    // A rank's worth needs no filling.
    if (config.matchRank !== undefined) expect(again.trainable()).toEqual(model.trainable());
  });

  it("hold nothing else", async () => {
    const code = "INTERCHANGE_UNSUPPORTED";
    const refused = async (config: Partial<RocoftConfig>, as = "shira", base = bert()): Promise<string> => {
      const error = await refusal(trained(config, base).then(async (model) => written(model, as)));
      expect(error.code).toBe(code);
      return error.message;
    };
    expect(await refused({ mode: "entries", count: 3 })).toMatch(/The bias of .* Train with bias: "none"/u);
    expect(await refused({ mode: "row" })).toMatch(/this adapter learns rows\. Use as: "lora"/u);
    expect(await refused({ mode: "entries", count: 3 }, "lora")).toMatch(/Use as: "shira"/u);
    expect(await refused({ mode: "entries", density: 1, bias: "none" })).toMatch(
      /r = 5, 80 entries of ".*query", which has 64/u,
    );
    expect(await refused({ mode: "entries", count: 3, bias: "none" }, "shira", inOut())).toMatch(/stored \[in, out\]/u);
    // A bias that learns but has not moved is none.
    const still = await peft(bert()).use(rocoft, { mode: "entries", count: 3 }).apply();
    expect(readConfig(await written(still, "shira"))["r"]).toBe(1);
  });

  it("are entries of the weights", async () => {
    const dir = await written(await trained({ mode: "entries", count: 16, bias: "none" }), "shira");
    const tensors = await readTensors(dir);
    const name = `${PREFIX}${QUERY}.shira_indices`;
    const indices = tensors.get(name) as HostTensor;
    const change = async (values: readonly number[]): Promise<string> => {
      const data = Int32Array.from(indices.data, (value, i) => values[i] ?? value);
      const other = fresh();
      await saveAdapter(await trained({ mode: "entries", count: 16, bias: "none" }), { dir: other, as: "shira" });
      await writeSafetensors(
        join(other, "adapter_model.safetensors"),
        new Map([...tensors, [name, { ...indices, data }]]),
      );
      return (await refusal(reloaded(other))).message;
    };
    expect(await change([8])).toMatch(/outside its weight \[8, 8\]/u);
    expect(await change([-1])).toMatch(/outside its weight/u);
    const twice = indices.data.slice();
    [twice[1], twice[17]] = [twice[0]!, twice[16]!];
    expect(await change([...twice])).toMatch(/twice/u);
  });
});

it("RoCoFT's own file is the default", async () => {
  const dir = fresh();
  await saveAdapter(await trained({}), { dir });
  expect(readConfig(dir)["peft_type"]).toBe("ROCOFT");
  expect((rocoft as unknown as Method).interchange?.map(({ carrier }) => carrier.name)).toEqual(["lora", "shira"]);
});
