import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { added, fill, logits, tinyModel, trainsAll } from "../../test/tiny.ts";
import {
  float32,
  hotSwapAdapter,
  isInt8,
  loadAdapter,
  MethodRegistry,
  narrow,
  peft,
  PeftModel,
  quantize,
  saveAdapter,
  widen,
  type BaseModel,
  type HostTensor,
  type InitContext,
  type Int8Tensor,
  type Method,
  type StoredTensor,
} from "../index.ts";

const folder = await mkdtemp(join(tmpdir(), "quantized-"));
afterAll(() => rm(folder, { recursive: true }));

const QUERY = "body.layer.0.query.weight";
const STORED_IN_OUT = "body.layer.1.query.weight";

/** The layers in eight bits, and the same values as float32. `tables`: the embedding and what is tied to it, too. */
function pair({ tables = false } = {}): { readonly int8: BaseModel; readonly wide: BaseModel } {
  const [int8, wide] = [tinyModel(), tinyModel()];
  const done = new Map<StoredTensor, Int8Tensor>();
  for (const { weight, kind, layout } of int8.sites) {
    if (weight.startsWith("classifier") || (kind === "embedding" && !tables)) continue;
    const own = int8.parameters.get(weight) as HostTensor;
    const axis = layout === "out_in" ? 0 : 1;
    done.set(own, quantize(own, { axis, backward: axis === 1 ? "float32" : "int8" }));
  }
  for (const [name, own] of int8.parameters) {
    const stored = done.get(own);
    if (stored === undefined) continue;
    int8.parameters.set(name, stored);
    wide.parameters.set(name, widen(stored));
  }
  if (tables) wide.parameters.set("decoder.weight", wide.parameters.get("body.embed.weight") as HostTensor);
  return { int8, wide };
}

/** Takes a third of every weight away, and adds it again. */
const splitting: Method = {
  ...(added as unknown as Method),
  capabilities: { ...added.capabilities, quantizedBase: "values" },
  init: (context) => {
    const { data, shape } = context.weight;
    const weight = float32(
      (data as Float32Array).map((value) => value * Math.fround(2 / 3)),
      shape,
    );
    return { ...(added.init as NonNullable<Method["init"]>)(context as InitContext<never>), weight };
  },
};
const erased = added as unknown as Method;

async function both(method: Method, config: object = {}, options = {}): Promise<[PeftModel, PeftModel]> {
  const { int8, wide } = pair(options);
  const models = [int8, wide].map((base) => new PeftModel(base)) as [PeftModel, PeftModel];
  for (const model of models) await model.attach({ method, config });
  return models;
}

/** The largest error in scales of the channel that it stands in. */
function errorInScales(stored: StoredTensor, exact: StoredTensor): number {
  if (!isInt8(stored)) throw new Error("The tensor is not in eight bits.");
  const { shape, axis, scales } = stored;
  const columns = shape[1] as number;
  const [wide, target] = [widen(stored).data, widen(exact).data];
  return Math.max(
    ...Array.from(wide, (value, i) => {
      const channel = axis === 0 ? Math.floor(i / columns) : i % columns;
      return Math.abs(value - (target[i] as number)) / (scales[channel] as number);
    }),
  );
}

/** Scales, and values made with them, are rounded to float32. */
const HALF = 0.5 + 1e-4;

describe("a base model in eight bits", () => {
  it("stays so under an adapter, and is computed with as its values are", async () => {
    const [model, expected] = await both(erased);
    const types = Object.entries(model.frozen()).filter(([, tensor]) => isInt8(tensor));
    expect(types.map(([name]) => name)).toEqual([QUERY, STORED_IN_OUT, "body.layer.1.value.weight"]);
    expect(model.trainable()).toEqual(expected.trainable());
    expect(model.trainableReport()).toEqual(expected.trainableReport());
    for (const each of [model, expected]) fill(each, 3);
    expect(logits(model)).toEqual(logits(expected));
  });

  it("gives a method's initialisation the values, and holds the weight that it makes of them in eight bits, too", async () => {
    const [model, expected] = await both(splitting);
    for (const name of [QUERY, STORED_IN_OUT]) {
      const [stored, exact] = [model, expected].map((each) => each.frozen()[`default.${name}`] as StoredTensor);
      const own = model.base.parameters.get(name) as Int8Tensor;
      expect(stored).toEqual(quantize(exact as HostTensor, own));
      expect(errorInScales(stored!, exact!)).toBeLessThanOrEqual(HALF);
      expect(errorInScales(stored!, own)).toBeGreaterThan(10);
    }
    // Switching it off, on and deleting it leaves the model's own values.
    const adapted = logits(model);
    const plain = logits(new PeftModel(pair().int8));
    expect(model.disable(() => logits(model))).toEqual(plain);
    model.setActive([]);
    expect(logits(model)).toEqual(plain);
    model.setActive("default");
    expect(logits(model)).toEqual(adapted);
    expect(model.unload().parameters.get(QUERY)).toBe(model.base.parameters.get(QUERY));
    model.detach("default");
    expect(model.frozen()[QUERY]).toBe(model.base.parameters.get(QUERY));
  });

  it("a replaced weight is made again when the adapter is loaded, to the bit", async () => {
    const [model] = await both(splitting);
    fill(model, 5);
    const dir = await saveAdapter(model, { dir: join(folder, "split") });
    const again = new PeftModel(pair().int8);
    await loadAdapter(again, { dir, methods: new MethodRegistry().use(splitting) });
    expect(again.frozen()).toEqual(model.frozen());
    expect(logits(again)).toEqual(logits(model));
    await hotSwapAdapter(model, { dir, methods: new MethodRegistry().use(splitting) });
    expect(model.frozen()).toEqual(again.frozen());
  });

  it("trains float32 copies of what a method or a head trains, tied tables as one", async () => {
    const [model, expected] = await both(trainsAll(), {}, { tables: true });
    expect(model.trainable()).toEqual(expected.trainable());
    for (const [key, { dtype }] of Object.entries(model.trainable())) expect(dtype, key).toBe("float32");
    expect(isInt8(model.base.parameters.get("body.embed.weight") as StoredTensor)).toBe(true);
    fill(model, 2);
    const { parameters } = model.mergeAndUnload({ requantize: true });
    expect(parameters.get("decoder.weight")).toBe(parameters.get("body.embed.weight"));
    expect(parameters.get(QUERY)).toEqual(model.trainable()[`default.${QUERY}`]);
    const head = await both(erased, { modulesToSave: ["layer.0.query", "classifier"], targetModules: ["value"] });
    expect(head[0].trainable()).toEqual(head[1].trainable());
    expect(head[0].trainable()[`default.${QUERY}`]?.dtype).toBe("float32");
  });

  it("trains rows of a table in eight bits in float32, in all tables that share it", async () => {
    const config = { trainableTokenIndices: [1, 4] };
    const models = await both(erased, config, { tables: true });
    for (const each of models) fill(each, 3);
    const [model, expected] = models;
    expect(model.trainable()).toEqual(expected.trainable());
    expect(logits(model)).toEqual(logits(expected));
    expect(model.mergeAndUnload().parameters.get("body.embed.weight")).toEqual(
      expected.mergeAndUnload().parameters.get("body.embed.weight"),
    );
    const { parameters } = model.mergeAndUnload({ requantize: true });
    expect(isInt8(parameters.get("body.embed.weight") as StoredTensor)).toBe(true);
    expect(parameters.get("decoder.weight")).toBe(parameters.get("body.embed.weight"));
  });

  it("a table of the file replaces the model's where it is another one in eight bits, too", async () => {
    const { int8, wide } = pair({ tables: true });
    const method = new MethodRegistry().use(erased);
    const table = "body.embed.weight";
    const saved = async (base: BaseModel, name: string): Promise<string> => {
      const model = await peft(base)
        .use(added, { targetModules: ["embed"] })
        .apply();
      return saveAdapter(model, { dir: join(folder, name), saveEmbeddingLayers: true });
    };
    const same = new PeftModel(int8);
    await loadAdapter(same, { dir: await saved(wide, "same"), methods: method });
    expect(same.frozen()[table]).toBe(int8.parameters.get(table));
    const changed = widen(int8.parameters.get(table) as StoredTensor);
    (changed.data as Float32Array)[3] = 2;
    const moved = tinyModel();
    moved.parameters.set(table, changed);
    const other = new PeftModel(int8);
    await loadAdapter(other, { dir: await saved(moved, "other"), methods: method });
    expect(other.frozen()[`default.${table}`]).toEqual(quantize(changed, int8.parameters.get(table) as Int8Tensor));
  });
});

describe("merging into weights in eight bits", () => {
  const adapters: readonly [string, Method][] = [
    ["an update", erased],
    ["a replaced weight and its update", splitting],
  ];

  it.each(adapters)("%s: float32 is exact, W + ΔW of the own values", async (_, method) => {
    const [model] = await both(method);
    fill(model, 4);
    const [before, adapted] = [model.frozen(), logits(model)];
    // The same adapter on the same values in float32.
    const own = new Map([...model.base.parameters].map(([name, tensor]) => [name, widen(tensor)]));
    for (const name of [QUERY, STORED_IN_OUT]) own.set(name, widen(before[`default.${name}`] ?? before[name]!));
    const wide = new PeftModel({ ...model.base, parameters: own });
    await wide.attach({ method: erased });
    wide.setTrainable(model.trainable());
    model.merge({ safe: true });
    wide.merge();
    for (const name of [QUERY, STORED_IN_OUT]) expect(model.frozen()[name]).toEqual(wide.frozen()[name]);
    expect(isInt8(model.frozen()["body.layer.1.value.weight"] as StoredTensor)).toBe(true);
    model.unmerge();
    expect(model.frozen()).toEqual(before);
    expect(logits(model)).toEqual(adapted);
  });

  it.each(adapters)("%s: requantized, it is off by half a new scale at most", async (_, method) => {
    const [model] = await both(method);
    fill(model, 4);
    const before = model.frozen();
    const exact = model.mergeAndUnload();
    const rounded = model.mergeAndUnload({ requantize: true });
    for (const [name, tensor] of rounded.parameters) {
      const own = model.base.parameters.get(name) as StoredTensor;
      expect(tensor.dtype, name).toBe(own.dtype);
      if (!isInt8(tensor) || !isInt8(own)) continue;
      expect([tensor.axis, tensor.backward], name).toEqual([own.axis, own.backward]);
      expect(errorInScales(tensor, exact.parameters.get(name) as StoredTensor), name).toBeLessThanOrEqual(HALF);
    }
    expect((rounded.parameters.get(QUERY) as Int8Tensor).scales).not.toEqual(
      (model.base.parameters.get(QUERY) as Int8Tensor).scales,
    );
    expect(model.frozen()).toEqual(before);
    model.merge({ requantize: true });
    expect(model.frozen()[QUERY]).toEqual(rounded.parameters.get(QUERY));
    expect(logits(model)).toEqual(logits(new PeftModel(rounded)));
    model.unmerge();
    expect(model.frozen()).toEqual(before);
  });

  it("several adapters are rounded once, those merged before too, and merges stack", async () => {
    const [model] = await both(erased);
    await model.attach({ name: "second", method: erased, seed: 2 });
    model.setActive(["default", "second"]);
    fill(model, 4);
    const before = model.frozen();
    const exact = model.mergeAndUnload().parameters.get(QUERY) as StoredTensor;
    model.merge({ adapters: ["default"] });
    const first = model.frozen()[QUERY];
    model.merge({ adapters: ["second"], requantize: true });
    expect(errorInScales(model.frozen()[QUERY] as StoredTensor, exact)).toBeLessThanOrEqual(HALF);
    model.unmerge({ last: true });
    expect(model.frozen()[QUERY]).toBe(first);
    // What is merged already can still be rounded, alone.
    expect(isInt8(model.mergeAndUnload({ requantize: true }).parameters.get(QUERY) as StoredTensor)).toBe(true);
    model.merge({ adapters: ["default"], requantize: true });
    expect(isInt8(model.frozen()[QUERY] as StoredTensor)).toBe(true);
    expect(model.merged).toEqual(["default"]);
    model.unmerge();
    expect(model.frozen()).toEqual(before);
  });

  it.each(["float16", "bfloat16"] as const)("weights in %s are rounded to it", async (dtype) => {
    const base = tinyModel();
    base.parameters.set(QUERY, narrow(base.parameters.get(QUERY) as StoredTensor, dtype));
    const model = await peft(base).use(added).apply();
    fill(model, 4);
    const exact = model.mergeAndUnload().parameters.get(QUERY) as HostTensor;
    const { parameters } = model.mergeAndUnload({ requantize: true });
    expect(parameters.get(QUERY)).toEqual(narrow(exact, dtype));
    expect(parameters.get(STORED_IN_OUT)?.dtype).toBe("float32");
  });
});

describe("a method that cannot do with dequantized values", () => {
  const exact = (method: Method): Method => ({
    ...method,
    name: "exact",
    capabilities: { ...method.capabilities, quantizedBase: false },
  });
  const refusal = (message: RegExp): unknown =>
    expect.objectContaining({ code: "QUANTIZED_UNSUPPORTED", message: expect.stringMatching(message) as string });

  it("is refused on such a layer before it looks at anything, and told what to do", async () => {
    let calls = 0;
    const method = { ...exact(erased), calibrate: () => (calls++, Promise.resolve({})) };
    const model = new PeftModel(pair().int8);
    await expect(model.attach({ method })).rejects.toEqual(
      refusal(
        /^Method "exact" .*"body\.layer\.0\.query\.weight" and 1 other in eight bits.*frozen: "float32".*exclude: \["query"\]/u,
      ),
    );
    expect(calls).toBe(0);
    expect(model.adapters.size).toBe(0);
  });

  it("works where its layers are float32", async () => {
    const base = pair().int8;
    base.parameters.set(QUERY, widen(base.parameters.get(QUERY) as StoredTensor));
    await new PeftModel(base).attach({ method: exact(erased), config: { layersToTransform: 0 } });
    await new PeftModel(tinyModel()).attach({ method: exact(erased) });
  });

  it("is refused where it trains such a weight", async () => {
    await expect(new PeftModel(pair().int8).attach({ method: exact(trainsAll()) })).rejects.toEqual(
      refusal(/and 2 others in eight bits.*exclude: \["query", "value"\]/u),
    );
  });

  it("may follow from the config", async () => {
    const claim = ({ rank }: { readonly rank: number }) => (rank === 1 ? false : "output");
    const method = { ...added, capabilities: { ...added.capabilities, quantizedBase: claim } };
    await new PeftModel(pair().int8).attach({ method, config: { rank: 2 } });
    await expect(new PeftModel(pair().int8).attach({ method, config: { rank: 1 } })).rejects.toEqual(
      refusal(/^Method "added"/u),
    );
  });
});
