import { installMatchers, tol } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { failureOf, fresh } from "../../test/folders.ts";
import { added, fill, logits, tinyModel, type AddedConfig } from "../../test/tiny.ts";
import { combineAdapters, float32, loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "../index.ts";
import type { CombineContext, FileForm, HostTensor, Method, Named, StoredTensor } from "../index.ts";

installMatchers();

/** Σ wᵢ·Bᵢ·Aᵢ by stacking: A = rows wᵢ·Aᵢ, B = columns Bᵢ; adapters without the layer add zeros. */
function combine({ adapters, sites, options }: CombineContext<AddedConfig>): FileForm<AddedConfig> {
  if (options.type !== undefined && options.type !== "stack") throw new Error(`unknown type ${options.type}`);
  const rank = adapters.reduce((sum, { config }) => sum + config.rank, 0);
  const params = sites.map(({ site, parts }): [string, Named<HostTensor>] => {
    const a = new Float32Array(rank * site.inFeatures);
    const b = new Float32Array(site.outFeatures * rank);
    let first = 0;
    for (const [i, { config, weight }] of adapters.entries()) {
      const part = parts[i]?.params as { a: HostTensor; b: HostTensor } | undefined;
      if (part !== undefined) {
        a.set(part.a.data.map((value: number) => weight * value) as Float32Array, first * site.inFeatures);
        for (let row = 0; row < site.outFeatures; row++)
          b.set(part.b.data.subarray(row * config.rank, (row + 1) * config.rank), row * rank + first);
      }
      first += config.rank;
    }
    return [site.path, { a: float32(a, [rank, site.inFeatures]), b: float32(b, [site.outFeatures, rank]) }];
  });
  const { config } = adapters[0] as { config: AddedConfig };
  return { config: { ...config, rank }, params: new Map(params) };
}

const stacking: Method<AddedConfig> = { ...added, combine };
const alike: Method<AddedConfig> = { ...stacking, name: "alike" };
const elsewhere: Method<AddedConfig> = { ...alike, wire: { ...added.wire, peftType: "ELSEWHERE" } };

/** Two adapters of random values on other layers; `shared`: with the head of the first. */
async function two({ shared = true, second = stacking } = {}): Promise<PeftModel> {
  const model = new PeftModel(tinyModel());
  for (const [name, method, config, seed] of [
    ["a", stacking, { rank: 1, targetModules: ["query"] }, 1],
    ["b", second, { rank: 2, targetRoles: ["query", "value"], layersToTransform: 1 }, 2],
  ] as const) {
    await model.attach({ name, method, config });
    model.setActive(name);
    fill(model, seed);
  }
  if (!shared) return model;
  const [a, b] = [model.adapters.get("a"), model.adapters.get("b")];
  for (const [name, override] of a?.overrides ?? []) b?.overrides.set(name, override);
  model.refresh();
  return model;
}

describe("combineAdapters", () => {
  it("makes one adapter of several, over the layers of any of them", async () => {
    const model = await two();
    const adapter = await combineAdapters(model, {
      adapters: ["a", "b"],
      weights: [1, 1],
      name: "both",
      type: "stack",
    });
    expect(model.active).toEqual(["b"]);
    expect(adapter.layers.map(({ site }) => site.path)).toEqual([
      "body.layer.0.query",
      "body.layer.1.query",
      "body.layer.1.value",
    ]);
    model.setActive(["a", "b"]);
    const apart = logits(model);
    model.setActive("both");
    expect(logits(model)).toBeAllClose(apart, tol.float32);

    const dir = fresh();
    const folder = await saveAdapter(model, { dir, adapterName: "both" });
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir: folder, methods: new MethodRegistry().use(stacking) });
    expect(logits(loaded)).toBeAllClose(apart, tol.float32);
  });

  it("takes adapters of methods that combine alike, and makes one of the first's method", async () => {
    const options = { adapters: ["a", "b"], weights: [1, 1], name: "both" };
    const [model, same] = [await two({ second: alike }), await two()];
    const adapter = await combineAdapters(model, options);
    expect(adapter.method).toBe(stacking);
    expect(adapter.params).toEqual((await combineAdapters(same, options)).params);
    const error = await failureOf(combineAdapters(await two({ second: elsewhere }), options));
    expect(error.message).toMatch(/"a" is of method "added" and "b" of "alike"/u);
  });

  it("weighs them, and copies what it takes over", async () => {
    const model = await two();
    await combineAdapters(model, { adapters: ["a", "b"], weights: [1, 0], name: "first" });
    model.setActive("a");
    const alone = logits(model);
    model.setActive("first");
    expect(logits(model)).toBeAllClose(alone, tol.float32);
    fill(model, 9);
    model.setActive("a");
    expect(logits(model)).toBeAllClose(alone, tol.exact);
  });

  it("asks whose saved modules it gets where they differ", async () => {
    const model = await two({ shared: false });
    const options = { adapters: ["a", "b"], weights: [0.5, 0.5], name: "both" };
    const error = await failureOf(combineAdapters(model, options));
    expect(error.code).toBe("COMBINE_CONFLICT");
    expect(error.message).toMatch(
      /"a" and "b" have different values of "classifier\.\w+", which they train in full\. .*modulesFrom: "a"/u,
    );
    expect([...model.adapters.keys()]).toEqual(["a", "b"]);
    await combineAdapters(model, { ...options, modulesFrom: "b" });
    const bias = (name: string): StoredTensor | undefined =>
      model.adapters.get(name)?.overrides.get("classifier.bias")?.tensor;
    expect(bias("both")).toEqual(bias("b"));
    expect(bias("both")).not.toBe(bias("b"));
    expect((await failureOf(combineAdapters(model, { ...options, name: "c", modulesFrom: "d" }))).message).toMatch(
      /modulesFrom names "d", which is not combined. It is one of: a, b/u,
    );
  });

  it("takes over a module that one of them has, and token rows that they share", async () => {
    const model = new PeftModel(tinyModel());
    const tokens = { trainableTokenIndices: [2] };
    await model.attach({ name: "a", method: stacking, config: { modulesToSave: [], ...tokens } });
    await model.attach({ name: "b", method: stacking, config: tokens });
    model.setActive("b");
    fill(model, 4);
    const [a, b] = [model.adapters.get("a"), model.adapters.get("b")];
    const rows = "body.embed.tokenRows";
    a?.params.set(rows, b?.params.get(rows) as HostTensor);
    const adapter = await combineAdapters(model, { adapters: ["a", "b"], weights: [0, 1], name: "c" });
    expect(adapter.modulesToSave).toEqual(["classifier"]);
    const expected = logits(model);
    model.setActive("c");
    expect(logits(model)).toBeAllClose(expected, tol.float32);
    a?.params.set(rows, float32([1, 2, 3, 4], [1, 4]));
    await expect(combineAdapters(model, { adapters: ["a", "b"], weights: [1, 1], name: "d" })).rejects.toMatchObject({
      code: "COMBINE_CONFLICT",
    });
  });

  it.each<[string, object, string, RegExp]>([
    ["a weight too few", { weights: [1] }, "CONFIG_INVALID", /one finite weight for each/u],
    ["weights that are no numbers", { weights: [1, NaN] }, "CONFIG_INVALID", /one finite weight/u],
    ["nothing", { adapters: [], weights: [] }, "CONFIG_INVALID", /needs adapters/u],
    ["an unknown adapter", { adapters: ["a", "x"] }, "ADAPTER_UNKNOWN", /Attached: a, b, other/u],
    ["a name that is taken", { name: "b" }, "ADAPTER_EXISTS", /"b"/u],
    ["several methods", { adapters: ["a", "other"] }, "COMBINE_UNSUPPORTED", /"other" of "added"/u],
    ["a method that cannot", { adapters: ["other"], weights: [1] }, "COMBINE_UNSUPPORTED", /"added" does not combine/u],
  ])("refuses %s", async (_, changes, code, message) => {
    const model = await two();
    await model.attach({ name: "other", method: added });
    const error = await failureOf(
      combineAdapters(model, { adapters: ["a", "b"], weights: [1, 1], name: "both", ...changes }),
    );
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(model.adapters.size).toBe(3);
  });

  it("says when a method's result does not fit its config", async () => {
    const model = await peft(tinyModel())
      .use({
        ...stacking,
        combine: (context) => ({ ...combine(context), config: context.adapters[0]?.config as AddedConfig }),
      })
      .apply();
    const options = { adapters: ["default", "default"], weights: [1, 1], name: "both" };
    expect((await failureOf(combineAdapters(model, options))).message).toMatch(
      /gives "body.layer.0.query.a" the shape \[4, 4\], but under the config that it gives the shape is \[2, 4\]/u,
    );
  });
});
