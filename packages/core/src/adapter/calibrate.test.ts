import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { added, BATCH, tinyModel, type AddedConfig } from "../../test/tiny.ts";
import { defineMethod, float32, int32, peft } from "../index.ts";
import type { CalibrateContext, HostTensor, LayerValues, Method, Named, TensorRunner } from "../index.ts";
import { hostRunner } from "../runner.ts";

installMatchers();

const batch = { input_ids: int32(BATCH.input_ids.dataSync<"int32">().slice(), [2, 3]) };
const single = { input_ids: int32([2], [1, 1]) };

/** Adapts the layer with the largest inputs, and starts A with their mean. */
function measuring(seen: (context: CalibrateContext<AddedConfig>) => void = () => undefined): Method<AddedConfig> {
  return defineMethod<AddedConfig>({
    ...added,
    name: "measuring",
    calibrate: async (context) => {
      seen(context);
      const sums = new Map<string, number>();
      for (const each of context.batches ?? []) {
        const inputs = await context.layerInputs(each);
        for (const { path } of context.sites) sums.set(path, (sums.get(path) ?? 0) + size(inputs.get(path)));
      }
      const [path, values] = [...sums].sort((a, b) => b[1] - a[1])[0] ?? [null, 0];
      return { values, config: { ...context.config, targetModules: path === null ? ["value"] : [path] } };
    },
    init: (context) => {
      const { params } = added.init?.(context) ?? { params: {} };
      const a = params["a"] as HostTensor;
      return { params: { ...params, a: float32(new Float32Array(8).fill(context.calibration as number), a.shape) } };
    },
  });
}

const size = (tensor: HostTensor | undefined): number =>
  tensor === undefined ? NaN : [...tensor.data].reduce((sum, value) => sum + Math.abs(value), 0);

/** As a compiling engine: results come later, arguments of a constant group stay the same, and nothing runs after `dispose`. */
function engineLike(): TensorRunner & { readonly log: string[] } {
  const log: string[] = [];
  return {
    log,
    compile: (fn, options) => {
      log.push(`compile ${options?.constant?.join() ?? ""}`);
      const program = hostRunner.compile(fn);
      let constant: unknown = null;
      return {
        run: async (args) => {
          await new Promise((resolve) => setTimeout(resolve, 1));
          if (constant !== null && constant !== args["frozen"]) throw new Error("constants changed");
          constant = args["frozen"];
          log.push("run");
          return program.run(args);
        },
        dispose: async () => void log.push("dispose"),
      };
    },
  };
}

const targets = { targetModules: ["embed", "query", "value"] };

async function inputsOf(data: Named<HostTensor>, runner?: TensorRunner): Promise<LayerValues> {
  return (await layersOf(data, runner)).inputs;
}

interface Layers {
  readonly inputs: LayerValues;
  readonly outputs: LayerValues;
}

async function layersOf(data: Named<HostTensor>, runner?: TensorRunner): Promise<Layers> {
  let layers: Layers = { inputs: new Map(), outputs: new Map() };
  const method: Method<AddedConfig> = {
    ...measuring(),
    calibrate: async (context) => {
      layers = { inputs: await context.layerInputs(data), outputs: await context.layerOutputs(data) };
      return { config: { ...context.config, targetModules: ["value"] } };
    },
    init: (context) => added.init?.(context) ?? { params: {} },
  };
  await peft(tinyModel()).use(method, targets).apply({ runner });
  return layers;
}

describe("calibrate", () => {
  it.each(["the host", "an engine"])("chooses layers and starts by what goes into them, on %s", async (where) => {
    const engine = engineLike();
    const before = tf.memory().numTensors;
    const model = await peft(tinyModel())
      .use(measuring(), { targetModules: ["query", "value"] })
      .apply({ batches: [batch, single], ...(where === "the host" ? {} : { runner: engine }) });
    const { layers, params } = model.adapters.get("default") as { layers: readonly { site: { path: string } }[] } & {
      params: Map<string, HostTensor>;
    };
    const [first, second] = [await inputsOf(batch), await inputsOf(single)];
    const path = "body.layer.0.query";
    expect(layers.map(({ site }) => site.path)).toEqual([path]);
    const mean = size(first.get(path)) + size(second.get(path));
    expect(mean).toBeGreaterThan(size(first.get("body.layer.1.query")) + size(second.get("body.layer.1.query")));
    expect(params.get(`${path}.a`)?.data[0]).toBeCloseTo(mean, 5);
    expect(engine.log).toEqual(where === "the host" ? [] : ["compile frozen", "run", "run", "dispose"]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it.each([undefined, engineLike()])(
    "hands out the input of every layer, once where layers share it",
    async (runner) => {
      const inputs = await inputsOf(batch, runner);
      const base = tinyModel();
      const table = base.parameters.get("body.embed.weight") as HostTensor;
      const rows = [...batch.input_ids.data].flatMap((id) => [...table.data.subarray(4 * id, 4 * id + 4)]);
      expect([...inputs.keys()].sort()).toEqual([
        "body.embed",
        "body.layer.0.query",
        "body.layer.1.query",
        "body.layer.1.value",
      ]);
      expect(inputs.get("body.embed")).toEqual({ ...batch.input_ids, shape: [6] });
      expect(inputs.get("body.layer.0.query")).toBeAllClose(float32(rows, [6, 4]), tol.exact);
      expect(inputs.get("body.layer.1.query")).toBe(inputs.get("body.layer.1.value"));
      expect(inputs.get("body.layer.1.query")).not.toBe(inputs.get("body.layer.0.query"));
    },
  );

  it.each([undefined, engineLike()])("hands out the output of every layer, its bias included", async (runner) => {
    const { inputs, outputs } = await layersOf(batch, runner);
    const base = tinyModel();
    const path = "body.layer.0.query";
    const read = (name: string): tf.Tensor => {
      const { data, shape } = base.parameters.get(name) as HostTensor;
      return tf.tensor(data, [...shape]);
    };
    const { data, shape } = inputs.get(path) as HostTensor;
    const product = tf.matMul(tf.tensor(data, [...shape]), read(`${path}.weight`), false, true);
    expect(outputs.get(path)).toBeAllClose(tf.add(product, read(`${path}.bias`)), tol.float32);
    expect(outputs.get("body.embed")).toBeAllClose(inputs.get(path) as HostTensor, tol.exact);
    expect([...outputs.keys()]).toEqual([...inputs.keys()]);
    expect(outputs.get("body.layer.1.query")).not.toBe(outputs.get("body.layer.1.value"));
  });

  it("tells a method that there is no data, and runs nothing then", async () => {
    const engine = engineLike();
    const seen: (CalibrateContext<AddedConfig>["batches"] | string[])[] = [];
    const model = await peft(tinyModel())
      .use(
        measuring(({ batches, sites }) =>
          seen.push(
            batches,
            sites.map(({ path }) => path),
          ),
        ),
        targets,
      )
      .apply({ runner: engine });
    expect(seen).toEqual([null, ["body.embed", "body.layer.0.query", "body.layer.1.query", "body.layer.1.value"]]);
    expect(model.adapters.get("default")?.layers.map(({ site }) => site.path)).toEqual(["body.layer.1.value"]);
    expect(engine.log).not.toContain("run");
  });

  it("passes on what a method warns of", async () => {
    const warnings: string[] = [];
    const method = measuring(({ warn }) => {
      warn("little data");
    });
    await peft(tinyModel())
      .use(method, {}, { onWarning: (message) => void warnings.push(message) })
      .apply();
    expect(warnings).toEqual(["little data"]);
  });

  it("gives its program back when the method fails", async () => {
    const engine = engineLike();
    const calibrate = async ({ layerInputs }: CalibrateContext<AddedConfig>): Promise<never> => {
      await layerInputs(batch);
      throw new Error("no");
    };
    const method = { ...measuring(), calibrate };
    await expect(peft(tinyModel()).use(method).apply({ runner: engine })).rejects.toThrow("no");
    expect(engine.log.at(-1)).toBe("dispose");
  });
});
