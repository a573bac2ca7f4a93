import { installMatchers, tol } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { failureOf, fresh, rewrite, P } from "../../test/folders.ts";
import { added, fill, logits, tinyModel, type AddedConfig } from "../../test/tiny.ts";
import { float32, hotSwapAdapter, loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter, zeros } from "../index.ts";
import type { HostTensor, Method, Named } from "../index.ts";

installMatchers();

/** Lower ranks are filled up with zeros, which add nothing; a higher one does not fit. */
const refit: NonNullable<Method<AddedConfig>["refit"]> = ({ params, from, to, shapes }): Named<HostTensor> => {
  if (params === null) return Object.fromEntries(Object.entries(shapes).map(([short, shape]) => [short, zeros(shape)]));
  if (from.rank >= to.rank) return params;
  const { a, b } = params as { a: HostTensor; b: HostTensor };
  const [wideA, wideB] = [zeros(shapes["a"] as number[]), zeros(shapes["b"] as number[])];
  wideA.data.set(a.data);
  for (let row = 0; row < (b.shape[0] as number); row++)
    wideB.data.set(b.data.subarray(row * from.rank, (row + 1) * from.rank), row * to.rank);
  return { a: wideA, b: wideB };
};
const fitting: Method<AddedConfig> = { ...added, refit };
const other: Method<AddedConfig> = { ...fitting, name: "other", wire: { ...added.wire, peftType: "OTHER" } };
const methods = new MethodRegistry().use(fitting);

async function model(config: Partial<AddedConfig>, seed: number, method = fitting): Promise<PeftModel> {
  const attached = await peft(tinyModel()).use(method, config).apply();
  fill(attached, seed);
  return attached;
}

async function folderOf(source: PeftModel): Promise<string> {
  return saveAdapter(source, { dir: fresh() });
}

describe("hotSwapAdapter", () => {
  it("puts a file's values in place; structure and config stay", async () => {
    const [target, source] = [await model({ rank: 3 }, 1), await model({ rank: 2 }, 2)];
    const { structure } = target;
    const adapter = await hotSwapAdapter(target, { dir: await folderOf(source), methods });
    expect(target.adapters.get("default")).toBe(adapter);
    expect(target.structure).toBe(structure);
    expect(adapter.config).toMatchObject({ rank: 3 });
    expect(logits(target)).toBeAllClose(logits(source), tol.float32);
    expect(target.trainable()["default.classifier.bias"]).toEqual(source.trainable()["default.classifier.bias"]);
    const again = new PeftModel(tinyModel());
    await loadAdapter(again, { dir: await folderOf(target), methods });
    expect(logits(again)).toBeAllClose(logits(source), tol.float32);
  });

  it("takes a file that is read as a method which refits alike", async () => {
    const [target, source] = [await model({ rank: 3 }, 1, { ...fitting, name: "alike" }), await model({ rank: 2 }, 2)];
    const { method } = await hotSwapAdapter(target, { dir: await folderOf(source), methods });
    expect(method.name).toBe("alike");
    expect(logits(target)).toBeAllClose(logits(source), tol.float32);
  });

  it("reaches an adapter that does not learn, and one that is not active", async () => {
    const source = await model({}, 2);
    const dir = await folderOf(source);
    const still = await model({}, 1);
    still.setActive("default", { trainable: [] });
    const before = still.frozen();
    await hotSwapAdapter(still, { dir, methods });
    expect(still.frozen()).not.toBe(before);
    expect(logits(still)).toBeAllClose(logits(source), tol.exact);
    const idle = await model({}, 1);
    idle.setActive([]);
    await hotSwapAdapter(idle, { dir, methods });
    idle.setActive("default");
    expect(logits(idle)).toBeAllClose(logits(source), tol.exact);
  });

  it("silences layers and modules that the file leaves out", async () => {
    const target = await model({ targetModules: ["query", "value"] }, 1);
    const source = await model({ targetModules: ["value"], modulesToSave: [] }, 2);
    await hotSwapAdapter(target, { dir: await folderOf(source), methods });
    expect(logits(target)).toBeAllClose(logits(source), tol.float32);
    expect(target.trainable()["default.classifier.weight"]?.data).toEqual(
      tinyModel().parameters.get("classifier.weight")?.data,
    );
  });

  it("swaps token rows", async () => {
    const rows = { trainableTokenIndices: [1, 3] };
    const [target, source] = [await model(rows, 1), await model(rows, 2)];
    await hotSwapAdapter(target, { dir: await folderOf(source), methods });
    expect(logits(target)).toBeAllClose(logits(source), tol.exact);
    const plain = await model({}, 3);
    await hotSwapAdapter(target, { dir: await folderOf(plain), methods });
    expect(logits(target)).toBeAllClose(logits(plain), tol.exact);
    const others = await model({ trainableTokenIndices: [2] }, 2);
    expect((await failureOf(hotSwapAdapter(target, { dir: await folderOf(others), methods }))).message).toMatch(
      /token rows of "body.embed" are 2, the adapter's are 1, 3/u,
    );
    expect((await failureOf(hotSwapAdapter(plain, { dir: await folderOf(others), methods }))).message).toMatch(
      /also has token rows of "body.embed"/u,
    );
  });

  it("takes values as they are where the method says nothing, under equal configs", async () => {
    const plain = new MethodRegistry().use(added);
    const target = await model({ targetModules: ["query"] }, 1, added);
    const source = await model({ targetRoles: ["query"] }, 2, added);
    await hotSwapAdapter(target, { dir: await folderOf(source), methods: plain });
    expect(logits(target)).toBeAllClose(logits(source), tol.exact);
    const fewer = await folderOf(await model({ targetModules: ["0.query"] }, 2, added));
    expect((await failureOf(hotSwapAdapter(target, { dir: fewer, methods: plain }))).message).toMatch(
      /leaves out the layer "body.layer.1.query"/u,
    );
    const dropping = await folderOf(await model({ dropout: 0.5 }, 2, added));
    expect((await failureOf(hotSwapAdapter(target, { dir: dropping, methods: plain }))).message).toMatch(
      /config for "body.layer.0.query" is .*0\.5.*, the adapter's is /u,
    );
  });

  it.each<[string, () => Promise<PeftModel>, RegExp]>([
    [
      "layers that the adapter lacks",
      () => model({ targetModules: ["value"] }, 2),
      /also adapts the layer "body.layer.1.value"/u,
    ],
    [
      "modules that the adapter lacks",
      () => model({ modulesToSave: ["classifier", "value"] }, 2),
      /also changes the base parameter "body.layer.1.value.weight"/u,
    ],
    [
      "a rank that does not fit",
      () => model({ rank: 4 }, 2),
      /"body.layer.0.query.a" would get .* \[4, 4\], and needs \[2, 4\]/u,
    ],
    ["another file type", () => model({}, 2, other), /the file is of method "other", the adapter of "added"/u],
  ])("refuses %s, and changes nothing", async (_, source, message) => {
    const target = await model({}, 1);
    const before = Object.entries(target.trainable());
    const registry = new MethodRegistry().use(fitting).use(other);
    const error = await failureOf(hotSwapAdapter(target, { dir: await folderOf(await source()), methods: registry }));
    expect(error.message).toMatch(message);
    expect(error.code).toBe("HOT_SWAP_UNSUPPORTED");
    expect(Object.entries(target.trainable())).toEqual(before);
  });

  it("refuses a merged adapter, an unknown one, and a file that does not fit the model", async () => {
    const target = await model({}, 1);
    const dir = await folderOf(await model({}, 2));
    await expect(hotSwapAdapter(target, { dir, methods, adapterName: "none" })).rejects.toMatchObject({
      code: "ADAPTER_UNKNOWN",
    });
    target.merge();
    await expect(hotSwapAdapter(target, { dir, methods })).rejects.toMatchObject({ code: "ADAPTER_MERGED" });
    target.unmerge();
    await rewrite(dir, (tensors) => tensors.set(`${P}classifier.bias`, float32([1, 2, 3], [3])));
    await expect(hotSwapAdapter(target, { dir, methods })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });
});
