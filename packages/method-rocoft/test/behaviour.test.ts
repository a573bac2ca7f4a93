import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { installMatchers, scratchFolders, tol } from "@peftjs/testkit";
import {
  batchAt,
  describeOnEngines,
  logits,
  lossProgram,
  perturb,
  tinyModel,
  train,
} from "@peftjs/testkit/conformance";
import { adamW, Stepper } from "@peftjs/train";
import { describe, expect, it } from "vitest";
import { countLearned, formatLearned, rocoft, source, type RocoftConfig } from "../src/index.ts";
import { blockRoles, whole } from "./wholeMatrix.ts";

installMatchers();
const fresh = scratchFolders();
const family = "bert";
const batch = batchAt(family, 0);
type Settings = Partial<RocoftConfig>;

const MODES: readonly (readonly [string, Settings])[] = [
  ["rows", {}],
  ["columns", { mode: "column" }],
  ["random rows", { select: "random" }],
  ["random columns, absolute", { mode: "column", select: "random", parameterisation: "absolute" }],
  ["materialised columns", { mode: "column", forward: "materialised" }],
  ["entries", { mode: "entries", density: 0.1 }],
  ["listed rows", { indices: { "layer.0.attention.self.query": [7, 2] } }],
];

async function attached(settings: Settings, seed = 5): Promise<PeftModel> {
  return peft(tinyModel(family)).use(rocoft, settings, { seed }).apply();
}

/** What a layer's buffer or parameter holds. */
function heldBy(model: PeftModel, local: string): HostTensor {
  const adapter = model.adapters.get("default");
  return (adapter?.buffers.get(local) ?? adapter?.params.get(local)) as HostTensor;
}

const QUERY = "bert.encoder.layer.0.attention.self.query";

describeOnEngines("what does not learn", (engine) => {
  it.each(MODES)("%s: the start is the base model, bit for bit", async (_, settings) => {
    const expected = await logits(new PeftModel(tinyModel(family)), { engine: engine(), batch });
    expect((await logits(await attached(settings), { engine: engine(), batch })).data).toEqual(expected.data);
  });

  it.each(MODES)("%s: everything else keeps its bits, with weight decay as well", async (_, settings) => {
    const model = await attached({ ...settings, head: "frozen" });
    const options = { family, engine: engine(), steps: 3, config: { weightDecay: 0.1 } } as const;
    await train(model, options);
    const base = tinyModel(family);
    const learned = new Map([...(model.adapters.get("default")?.layers ?? [])].map(({ site }) => [site.weight, site]));
    for (const [name, tensor] of model.mergeAndUnload().parameters) {
      const before = base.parameters.get(name) as HostTensor;
      const site = learned.get(name);
      const isBias = [...learned.values()].some(({ bias }) => bias === name);
      const changed = Array.from(tensor.data).flatMap((value, i) => (Object.is(value, before.data[i]) ? [] : [i]));
      if (site === undefined) expect(changed.length > 0, name).toBe(isBias);
      else
        expect(
          changed.every((flat) => isSelected(model, { ...site, flat })),
          name,
        ).toBe(true);
      if (site !== undefined) expect(changed.length, name).toBeGreaterThan(0);
    }
  });
});

/** Whether an entry of a weight [out, in] is among those that a layer's indices name. */
function isSelected(
  model: PeftModel,
  { path, inFeatures, flat }: { readonly path: string; readonly inFeatures: number; readonly flat: number },
): boolean {
  const { mode } = model.adapters.get("default")?.config as RocoftConfig;
  const indices = heldBy(model, `${path}.indices`);
  const [i, j] = [Math.floor(flat / inFeatures), flat % inFeatures];
  const has = (value: number): boolean => Array.from(indices.data).includes(value);
  if (mode !== "entries") return has(mode === "row" ? i : j);
  const k = indices.data.length / 2;
  return Array.from({ length: k }, (_, n) => n).some((n) => indices.data[n] === i && indices.data[k + n] === j);
}

describeOnEngines("gradients are those of the whole matrices", (engine) => {
  const exact = (): boolean => engine().backend !== "onnxruntime";

  it.each(MODES)("%s", async (_, settings) => {
    const model = await attached(settings);
    const reference = await peft(tinyModel(family)).use(whole, { targetRoles: blockRoles }).apply();
    const [own, all] = await Promise.all(
      [model, reference].map(async (either) => {
        const program = lossProgram(either, engine());
        const { gradients } = await program.run(batch);
        await program.dispose();
        return gradients;
      }),
    );
    const layers = model.adapters.get("default")?.layers ?? [];
    expect(layers).toHaveLength(12);
    for (const { site } of layers) {
      const full = all?.[`default.${site.weight}`] as HostTensor;
      const d = (own?.[`default.${site.path}.delta`] ?? own?.[`default.${site.path}.slice`]) as HostTensor;
      const expected = Array.from(full.data).filter((__, flat) => isSelected(model, { ...site, flat }));
      expectGradient(d.data, expected);
      expectGradient(own?.[`default.${site.path}.biasDelta`]?.data, all?.[`default.${site.bias}`]?.data);
    }
  });

  function expectGradient(actual: ArrayLike<number> = [], expected: ArrayLike<number> = []): void {
    if (exact()) {
      expect(Array.from(actual)).toEqual(Array.from(expected));
      return;
    }
    expect(actual.length).toBe(expected.length);
    // A key bias has no gradient but rounding: softmax ignores what is the same for every key.
    const scale = Math.max(...Array.from(expected, Math.abs));
    for (let i = 0; i < expected.length; i++)
      expect(Math.abs((actual[i] as number) - (expected[i] as number))).toBeLessThanOrEqual(
        1e-6 * Math.max(scale, 1e-3),
      );
  }

  it("as many rows as there are learn as the matrices do", async () => {
    const model = await attached({ rank: 100 });
    const reference = await peft(tinyModel(family)).use(whole, { targetRoles: blockRoles }).apply();
    const options = { family, engine: engine(), steps: 5, config: { weightDecay: 0, optimizer: "sgd" } } as const;
    const [own, all] = [await train(model, options), await train(reference, options)];
    expect(own).toBeAllClose([...all], tol.float32);
  });
});

describeOnEngines("the optimizer's state", (engine) => {
  it.each(MODES)("%s: two numbers of AdamW for each that learns", async (_, settings) => {
    const model = await attached(settings);
    const { weights, biases, others } = countLearned(model);
    const options = { model, engine: engine(), optimizer: adamW(), maxGradNorm: null, seed: 1 };
    const stepper = new Stepper(options);
    await stepper.step({ batches: [batch], firstBatch: 0, step: 1, learningRate: 1e-3 });
    const sizes = Object.values(stepper.optimizerState).map(({ data }) => data.length);
    await stepper.dispose();
    expect(sizes.reduce((sum, size) => sum + size)).toBe(2 * (weights + biases + others));
  });
});

describe("which rows, columns and entries", () => {
  const indices = async (settings: Settings, seed?: number): Promise<number[]> =>
    Array.from(heldBy(await attached(settings, seed), `${QUERY}.indices`).data);

  it("are chosen as said, ascending", async () => {
    expect(await indices({})).toEqual([0, 1, 2]);
    expect(await indices({ select: "last" })).toEqual([5, 6, 7]);
    expect(await indices({ select: "uniform", rank: 4 })).toEqual([1, 3, 5, 7]);
    expect(await indices({ indices: { query: [6, 0] } })).toEqual([0, 6]);
    expect(await indices({ rank: 100 })).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await indices({ rankPattern: { query: 1 } })).toEqual([0]);
    expect(await indices({ mode: "entries", count: 10, select: "first" })).toEqual([
      ...[0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
      ...[0, 1, 2, 3, 4, 5, 6, 7, 0, 1],
    ]);
    expect(
      await indices({
        mode: "entries",
        count: 2,
        indices: {
          query: [
            [3, 1],
            [0, 7],
          ],
        },
      }),
    ).toEqual([0, 3, 7, 1]);
  });

  it("follow from the seed, and differ between layers", async () => {
    const settings: Settings = { mode: "entries", matchRows: 3 };
    expect(await indices(settings)).toHaveLength(2 * 3 * 8);
    expect(await indices(settings)).toEqual(await indices(settings));
    expect(await indices(settings)).not.toEqual(await indices(settings, 6));
    const model = await attached({ select: "random", rank: 3 });
    const drawn = (model.adapters.get("default")?.layers ?? []).map(({ site }) =>
      Array.from(heldBy(model, `${site.path}.indices`).data).join(),
    );
    expect(new Set(drawn).size).toBeGreaterThan(3);
  });

  it.each([
    [{ mode: "entries" }, /exactly one of density, count, .* got 0/u],
    [{ mode: "entries", density: 0.1, count: 3 }, /got 2/u],
    [{ density: 0.1 }, /are for mode "entries"/u],
    [{ indices: { query: [1, 1] } }, /no index twice/u],
    [{ indices: { query: [[0, 1]] } }, /lists of rows/u],
    [{ indices: { query: [8] } }, /the row 8 of ".*query", whose weight has 8 rows/u],
    [{ targetModules: ["word_embeddings"] }, /embedding/u],
  ] as const)("refuses %j", async (settings, message) => {
    await expect(attached(settings as Settings)).rejects.toThrow(message);
  });
});

describe("what learns beside", () => {
  const keys = async (settings: Settings): Promise<string[]> => Object.keys((await attached(settings)).trainable());

  it("is what head, bias and norms say", async () => {
    const only = async (settings: Settings, pattern: RegExp): Promise<number> =>
      (await keys(settings)).filter((key) => pattern.test(key)).length;
    expect(await keys({ rank: 0, bias: "none" })).toEqual(["default.classifier.weight", "default.classifier.bias"]);
    expect(await only({ rank: 0 }, /biasDelta$/u)).toBe(12);
    expect(await only({ rank: 0, head: "frozen" }, /classifier|pooler/u)).toBe(0);
    expect(await only({ head: "restricted" }, /(?:classifier|pooler\.dense)\.(?:delta|biasDelta)$/u)).toBe(4);
    expect(await only({ norms: "train" }, /LayerNorm/u)).toBe(10);
    expect(await only({ bias: "all" }, /LayerNorm\.bias|pooler\.dense\.bias/u)).toBe(6);
    expect(await only(source, /LayerNorm/u)).toBe(0);
    expect(await only({ modulesToSave: ["pooler"] }, /pooler/u)).toBe(2);
  });

  it("is in the report, line by line", async () => {
    const model = await attached({ rank: 3, bias: "all" });
    const { weights, biases, others, model: all } = countLearned(model);
    // Two blocks of six layers: hidden size 8, inner size 12.
    expect(weights).toBe(2 * 3 * (5 * 8 + 12));
    expect(biases).toBe(2 * (5 * 8 + 12) + 5 * 8 + 8);
    expect(others).toBe(3 * 8 + 3);
    const learning = Object.values(model.trainable()).reduce((sum, { data }) => sum + data.length, 0);
    expect(weights + biases + others).toBe(learning);
    expect(model.trainableReport().trainable).toBe(learning);
    expect(formatLearned({ weights: 3, biases: 1000, others: 0, model: 20_000 })).toBe(
      "weights: 3 (0.0150 %)\nbiases: 1,000 (5.0000 %)\nhead and others: 0 (0.0000 %)",
    );
    expect(all).toBe([...model.base.parameters.values()].reduce((sum, { data }) => sum + data.length, 0));
    expect(() => countLearned(model, "other")).toThrow(/No adapter is called "other".*default/u);
  });

  it.each([
    ["restricted head", { head: "restricted" }],
    ["source", { ...source, mode: "column" }],
    ["frozen head and all biases", { head: "frozen", bias: "all" }],
    ["all biases and norms", { bias: "all", norms: "train" }],
    ["restricted head and all biases", { head: "restricted", bias: "all" }],
    ["no biases, r = 0", { rank: 0, bias: "none" }],
  ] as const)("comes back from a file: %s", async (_, settings) => {
    const model = await attached(settings);
    perturb(model);
    const dir = await saveAdapter(model, { dir: fresh() });
    const again = new PeftModel(tinyModel(family));
    await loadAdapter(again, { dir, methods: new MethodRegistry().use(rocoft) });
    expect(Object.keys(again.trainable()).sort()).toEqual(Object.keys(model.trainable()).sort());
    for (const [name, tensor] of Object.entries(model.trainable()))
      expect(again.trainable()[name], name).toBeAllClose(tensor, tol.float32);
  });
});
