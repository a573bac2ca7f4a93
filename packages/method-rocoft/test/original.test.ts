import { join } from "node:path";
import { float32, PeftModel, quantize, widen, writeSafetensors } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { installMatchers, scratchFolders, tol, useCpuBackend } from "@peftjs/testkit";
import { beforeAll, describe, expect, it } from "vitest";
import { importOriginal, type RocoftConfig } from "../src/index.ts";
import { bert, merged, refusal, trained } from "./tinyBert.ts";

beforeAll(() => {
  useCpuBackend();
});
installMatchers();

const fresh = scratchFolders();
const FFN = "bert.encoder.layer.0.output.dense";

interface Split {
  readonly mode: RocoftConfig["mode"];
  readonly rank: number;
}

/** A whole model as the original code saves it: its linear layers, heads too, have their weights in two parts, or in a list of one. */
function asOriginal(model: PeftModel, { mode, rank }: Split): Map<string, HostTensor> {
  const { parameters, sites } = model.mergeAndUnload();
  const tensors = new Map([...parameters].map(([name, tensor]) => [name, widen(tensor)]));
  for (const { path, weight } of sites.filter(({ kind }) => kind === "linear")) {
    const whole = tensors.get(weight) as HostTensor;
    const { data, shape } = whole;
    const [rows = 0, columns = 0] = shape;
    tensors.delete(weight);
    if (mode === "entries") {
      tensors.set(`${path}.weight.0`, whole);
      continue;
    }
    const learns = (n: number): boolean => (mode === "row" ? Math.floor(n / columns) : n % columns) < rank;
    for (const [suffix, learned] of [
      ["trainable_weight", true],
      ["non_trainable_weight", false],
    ] as const) {
      const values = data.filter((_, n) => learns(n) === learned) as Float32Array;
      const size = values.length / (mode === "row" ? columns : rows);
      tensors.set(`${path}.${suffix}`, float32(values, mode === "row" ? [size, columns] : [rows, size]));
    }
  }
  return tensors;
}

async function written(tensors: ReadonlyMap<string, HostTensor>): Promise<string> {
  const dir = fresh();
  await writeSafetensors(join(dir, "model.safetensors"), tensors);
  return dir;
}

const cases: readonly [string, Partial<RocoftConfig>, Split][] = [
  ["rows", { rank: 2 }, { mode: "row", rank: 2 }],
  ["columns", { mode: "column", rank: 1 }, { mode: "column", rank: 1 }],
  ["rows and norms", { norms: "train" }, { mode: "row", rank: 3 }],
  ["entries", { mode: "entries", density: 0.1 }, { mode: "entries", rank: 0 }],
];

describe("importOriginal", () => {
  it.each(cases)("attaches what a checkpoint learned: %s", async (_, config, split) => {
    const before = await trained({ ...config, targetModules: "all-linear" });
    const model = new PeftModel(bert());
    const adapter = await importOriginal(model, { file: await written(asOriginal(before, split)) });
    const expected = merged(before);
    const actual = merged(model);
    for (const [name, values] of Object.entries(expected)) expect(actual[name]).toBeAllClose(values, tol.float32);
    expect(adapter.config).toMatchObject({ mode: split.mode, bias: "targets", modulesToSave: ["classifier"] });
    // What learned goes on learning, and nothing else.
    if (split.mode !== "entries") {
      const learned = Object.keys(model.trainable());
      expect(learned.sort()).toEqual(Object.keys(before.trainable()).sort());
      expect(adapter.config).toMatchObject({ rank: split.rank });
    }
  });

  it("refuses another base model, and choices that the checkpoint does not name", async () => {
    const split: Split = { mode: "row", rank: 2 };
    const before = await trained({ rank: 2, targetModules: "all-linear" });
    const changed = async (change: (tensors: Map<string, HostTensor>) => void): Promise<string> => {
      const tensors = asOriginal(before, split);
      change(tensors);
      const model = new PeftModel(bert());
      const { code, message } = await refusal(importOriginal(model, { file: await written(tensors) }));
      expect(code).toBe("INTERCHANGE_UNSUPPORTED");
      expect([...model.adapters]).toEqual([]);
      return message;
    };
    const one = (tensors: Map<string, HostTensor>, name: string): void => {
      const { data, shape } = tensors.get(name) as HostTensor;
      tensors.set(
        name,
        float32(
          Float32Array.from(data, (value, i) => (i === 3 ? value + 1 : value)),
          shape,
        ),
      );
    };
    expect(await changed((tensors) => one(tensors, `${FFN}.non_trainable_weight`))).toMatch(
      /rows of "bert\.encoder\.layer\.0\.output\.dense" other than the first 2.*chosen by score/u,
    );
    const table = "bert.embeddings.word_embeddings.weight";
    expect(await changed((tensors) => one(tensors, table))).toContain(`"${table}" is not that of`);
    expect(await changed((tensors) => tensors.set(`${FFN}.non_trainable_weight`, float32([1, 2], [1, 2])))).toMatch(
      /has a weight \[.*\] of ".*output\.dense", where this model's is \[8, 12\]/u,
    );
    expect(
      await changed((tensors) => {
        tensors.set(`${FFN}.weight.0`, float32(new Float32Array(96), [8, 12]));
      }),
    ).toMatch(/layers of the kinds row, entries/u);
  });

  it("refuses a base whose weights were rounded", async () => {
    const file = await written(asOriginal(await trained({}), { mode: "row", rank: 3 }));
    const base = bert();
    base.parameters.set(`${FFN}.weight`, quantize(widen(base.parameters.get(`${FFN}.weight`)!), { axis: 0 }));
    const { code, message } = await refusal(importOriginal(new PeftModel(base), { file }));
    expect(code).toBe("QUANTIZED_UNSUPPORTED");
    expect(message).toMatch(/frozen: "float32".*its folder loads on either/u);
  });

  it("says what such a checkpoint looks like", async () => {
    const tensors = new Map([...bert().parameters].map(([name, tensor]) => [name, widen(tensor)]));
    const { code, message } = await refusal(importOriginal(new PeftModel(bert()), { file: await written(tensors) }));
    expect(code).toBe("ADAPTER_TENSORS");
    expect(message).toMatch(/no checkpoint of the original code.*loadAdapter/u);
  });
});
