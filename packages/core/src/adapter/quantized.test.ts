import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { both, erased, errorInScales, HALF, pair, QUERY, splitting, STORED_IN_OUT } from "../../test/int8.ts";
import { added, fill, logits, tinyModel, trainsAll } from "../../test/tiny.ts";
import {
  hotSwapAdapter,
  isInt8,
  loadAdapter,
  MethodRegistry,
  peft,
  PeftModel,
  quantize,
  saveAdapter,
  widen,
  type BaseModel,
  type HostTensor,
  type Int8Tensor,
  type Method,
  type StoredTensor,
} from "../index.ts";

const folder = await mkdtemp(join(tmpdir(), "quantized-"));
afterAll(() => rm(folder, { recursive: true }));

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
