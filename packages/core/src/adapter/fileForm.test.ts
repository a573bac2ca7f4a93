import { installMatchers, tol } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { fresh, P, readConfig, readTensors } from "../../test/folders.ts";
import { added, AddedConfig, fill, logits, tinyModel } from "../../test/tiny.ts";
import { float32, loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter, zeros } from "../index.ts";
import type { BaseModel, HostTensor, Method } from "../index.ts";

installMatchers();

/** `added`, which keeps its first A in a buffer and counts in its state. As a file of its own it has only A − A₀. */
const moving: Method<AddedConfig> = {
  ...added,
  name: "moving",
  wire: {
    ...added.wire,
    config: {
      ...added.wire.config,
      dropout: { key: "keep", write: (rate) => 1 - (rate as number), read: (keep) => 1 - (keep as number) },
    },
    tensors: { ...added.wire.tensors, start: null },
  },
  init: (context) => {
    const { params } = added.init?.(context) ?? { params: {} };
    return { params, buffers: { start: params["a"] as HostTensor }, state: { steps: zeros([1]) } };
  },
  file: ({ config, sites, native }) => ({
    config: native ? config : { ...config, dropout: 0 },
    params: new Map(
      sites.map(({ site, params }) => {
        const { a, start } = params as { a: HostTensor; start: HostTensor };
        const moved = float32(
          Float32Array.from(a.data, (value, i) => value - (start.data[i] as number)),
          a.shape,
        );
        return [site.path, native ? params : { b: params["b"] as HostTensor, a: moved }];
      }),
    ),
  }),
};
const registry = new MethodRegistry().use(moving);
const A = `${P}body.layer.0.query.added_A.weight`;

async function trainedMoving(): Promise<PeftModel> {
  const model = await peft(tinyModel()).use(moving, { dropout: 0.25 }).apply();
  fill(model, 3);
  return model;
}

describe("a method's own file", () => {
  it("holds what `file` makes of the adapter, in either form", async () => {
    const [plain, native] = [fresh(), fresh()];
    const model = await trainedMoving();
    const { params, buffers } = model.adapters.get("default") as {
      params: Map<string, HostTensor>;
      buffers: Map<string, HostTensor>;
    };
    const local = "body.layer.0.query";
    const [a, start] = [params.get(`${local}.a`) as HostTensor, buffers.get(`${local}.start`) as HostTensor];
    await saveAdapter(model, { dir: plain });
    await saveAdapter(model, { dir: native, native: true });
    expect(readConfig(plain)["keep"]).toBe(1);
    expect(readConfig(native)["keep"]).toBe(0.75);
    expect((await readTensors(native)).get(A)).toEqual(a);
    const moved = Float32Array.from(a.data, (value, i) => value - (start.data[i] as number));
    expect((await readTensors(plain)).get(A)?.data).toEqual(moved);
    expect(Math.max(...start.data.map(Math.abs))).toBeGreaterThan(0);
    // The adapter itself stays as it was.
    expect(params.get(`${local}.a`)).toBe(a);
    expect(model.adapters.get("default")?.config).toMatchObject({ dropout: 0.25 });
  });

  it("is made into the adapter again by `restore`, which sees the layer's weight", async () => {
    const plus = (a: HostTensor, b: HostTensor, sign = 1): HostTensor =>
      float32(
        Float32Array.from(a.data, (value, i) => value + sign * (b.data[i] as number)),
        a.shape,
      );
    const startOf = (weight: HostTensor): HostTensor => float32(weight.data.slice(0, 8) as Float32Array, [2, 4]);
    const relative: Method<AddedConfig> = {
      ...moving,
      init: ({ fromFile, weight }) => {
        const start = fromFile ? zeros([2, 4]) : startOf(weight);
        return { params: { a: start, b: zeros([4, 2]) }, buffers: { start } };
      },
      file: ({ config, sites }) => ({
        config,
        params: new Map(
          sites.map(({ site, params: { a, b, start } }) => [
            site.path,
            { a: plus(a as HostTensor, start as HostTensor, -1), b: b as HostTensor },
          ]),
        ),
      }),
      restore: ({ params, weight }) => ({
        a: plus(startOf(weight), params["a"] as HostTensor),
        start: startOf(weight),
      }),
    };
    const dir = fresh();
    const model = await peft(tinyModel()).use(relative, { dropout: 0 }).apply();
    fill(model, 3);
    await saveAdapter(model, { dir });
    const loaded = new PeftModel(tinyModel());
    const { adapter } = await loadAdapter(loaded, { dir, methods: new MethodRegistry().use(relative) });
    const own = model.adapters.get("default");
    const local = "body.layer.0.query";
    expect(adapter.buffers.get(`${local}.start`)).toEqual(own?.buffers.get(`${local}.start`));
    const [read, held] = [adapter, own].map((either) => either?.params.get(`${local}.a`) as HostTensor);
    // A difference rounds.
    expect(read).toBeAllClose(held as HostTensor, tol.deep);
    expect(logits(loaded)).toBeAllClose(logits(model), tol.deep);
  });

  it("leaves out tensors that have no name in it, and state", async () => {
    const dir = fresh();
    await saveAdapter(await trainedMoving(), { dir, native: true });
    expect([...(await readTensors(dir)).keys()].filter((name) => name.includes(".query."))).toEqual(
      [0, 1].flatMap((i) => ["A", "B"].map((m) => `${P}body.layer.${i}.query.added_${m}.weight`)),
    );
  });

  it("reads fields as the file writes them, and starts what it leaves out anew", async () => {
    const dir = fresh();
    const model = await trainedMoving();
    model.adapters.get("default")?.state.set("body.layer.0.query.steps", float32([7], [1]));
    await saveAdapter(model, { dir, native: true });
    const loaded = new PeftModel(tinyModel());
    const { adapter } = await loadAdapter(loaded, { dir, methods: registry });
    expect(adapter.config).toMatchObject({ dropout: 0.25 });
    expect(adapter.state.get("body.layer.0.query.steps")).toEqual(zeros([1]));
    expect(adapter.buffers.get("body.layer.0.query.start")).toEqual(zeros([2, 4]));
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
  });
});

describe("how the layers store their weights", () => {
  const LAYOUT = "fan_in_fan_out";
  it("is placed by the layers, whatever the config says", async () => {
    const method = {
      ...added,
      config: AddedConfig.extend({ transposed: z.boolean().default(false) }),
      wire: { ...added.wire, config: { ...added.wire.config, transposed: LAYOUT } },
    };
    const written = async (settings: object, base: BaseModel = tinyModel()): Promise<[unknown, string[]]> => {
      const dir = fresh();
      const warnings: string[] = [];
      const onWarning = (message: string): void => void warnings.push(message);
      const model = await peft(base)
        .use(method as Method<AddedConfig>, settings as Partial<AddedConfig>, { onWarning })
        .apply();
      await saveAdapter(model, { dir });
      return [readConfig(dir)[LAYOUT], warnings];
    };
    // Block 1's query alone is stored [in, out].
    expect(await written({ layersToTransform: 1 })).toEqual([true, []]);
    expect(await written({ layersToTransform: 0 })).toEqual([false, []]);
    expect(await written({ layersToTransform: 1, transposed: true })).toEqual([true, []]);
    // Embeddings are always stored in one way: of them the field says nothing.
    expect(await written({ targetModules: ["embed"], transposed: true })).toEqual([true, []]);
    const [value, warnings] = await written({ layersToTransform: 0, transposed: true });
    expect(value).toBe(false);
    expect(warnings).toEqual([
      expect.stringMatching(/has transposed: true, but its layers store.*\[out, in\]\. It is set/u),
    ]);
  });
});
