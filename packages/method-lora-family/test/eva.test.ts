import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { peft } from "@peftjs/core";
import type { HostTensor, Method, Named } from "@peftjs/core";
import { fromPretrained } from "@peftjs/models";
import {
  describeOnEngines,
  describeReference,
  expectSameStart,
  loadReference,
  readReference,
  referenceBatch,
  relativeDifference,
} from "@peftjs/testkit/conformance";
import type { Reference } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { dora, eva } from "../src/index.ts";
import type { EvaConfig } from "../src/index.ts";

/** Written by fixtures/eva/make.py with the Python libraries. */
const cases = ["plain", "redistributed"] as const;
const folder = (name: string): URL => new URL(`../../../fixtures/eva/${name}`, import.meta.url);
const method = eva as unknown as Method;

describeReference(eva, { folders: cases.map(folder) });

const settings: Record<(typeof cases)[number], Partial<EvaConfig>> = {
  plain: {
    ...{ rank: 4, alpha: 8 },
    targetModules: ["query", "key", "value", "attention.output.dense", "intermediate.dense"],
  },
  redistributed: {
    ...{ rank: 1, alpha: 2, targetModules: ["query", "attention.output.dense", "intermediate.dense"] },
    rankPattern: { "layer.0.attention.output.dense": 2 },
    alphaPattern: { "layer.1.attention.output.dense": 3 },
    eva: { rho: 6, tau: 0.999, whiten: true },
  },
};

/** The reference's batches, with the labels that its calibration saw: per token, or none. */
function calibrationBatches(reference: Reference): Named<HostTensor>[] {
  const labels = reference.values.get("token_labels");
  return reference.losses.map((_, index) => {
    const { input_ids, attention_mask } = referenceBatch(reference, index) as Record<string, HostTensor>;
    const size = input_ids!.data.length;
    const own = labels?.data.subarray(index * size, (index + 1) * size) as Int32Array | undefined;
    return {
      ...{ input_ids: input_ids!, attention_mask: attention_mask! },
      ...(own === undefined ? {} : { labels: { dtype: "int32", shape: input_ids!.shape, data: own } as const }),
    };
  });
}

describeOnEngines("Python's initialisation", (engine) => {
  it.each(cases)(
    "%s: every layer sees what it sees in Python, at every position of the last block, too",
    async (name) => {
      const reference = await readReference(folder(name));
      const paths = [...reference.values.keys()].filter((key) => key.startsWith("input.")).map((key) => key.slice(6));
      let seen: ReadonlyMap<string, HostTensor> = new Map();
      const observer: Method = {
        ...method,
        calibrate: async ({ layerInputs }) => {
          seen = await layerInputs(referenceBatch(reference, 0));
          return {};
        },
      };
      const base = await fromPretrained(join(fileURLToPath(folder(name)), "base"));
      await peft(base).use(observer, settings[name]).apply({ batches: [], runner: engine() });
      expect([...seen.keys()].sort()).toEqual(paths.sort());
      for (const path of paths) {
        const expected = reference.values.get(`input.${path}`)!;
        expect(seen.get(path)!.shape, path).toEqual(expected.shape);
        expect(relativeDifference(seen.get(path)!.data, expected.data), path).toBeLessThan(1e-5);
      }
    },
  );

  it.each(cases)("%s: the same ranks, alphas and layers, and the same A", async (name) => {
    const reference = await readReference(folder(name));
    const base = await fromPretrained(join(fileURLToPath(folder(name)), "base"));
    const model = await peft(base)
      .use(eva, settings[name])
      .apply({ batches: calibrationBatches(reference), runner: engine() });
    const ours = model.adapters.get("default")!;
    const theirs = (await loadReference(reference, { method, stage: "fresh" })).adapters.get("default")!;
    const [own, expected] = [ours.config, theirs.config] as EvaConfig[];
    expect(own!.rankPattern).toEqual(expected!.rankPattern);
    expect(own!.alphaPattern).toEqual(expected!.alphaPattern);
    expect([...(own!.targetModules as string[])].sort()).toEqual([...(expected!.targetModules as string[])].sort());
    expectSameStart(ours.params, theirs.params, 1e-5);
  });

  it("other methods with LoRA's factors start the same", async () => {
    const reference = await readReference(folder("redistributed"));
    const base = await fromPretrained(join(fileURLToPath(folder("redistributed")), "base"));
    const data = { batches: calibrationBatches(reference), runner: engine() };
    const start = { ...settings.redistributed, initLoraWeights: "eva" } as const;
    const [own, other] = await Promise.all([
      peft(base).use(eva, start).apply(data),
      peft(base)
        .use(dora, { ...start, loraBias: false })
        .apply(data),
    ]);
    const params = other.adapters.get("default")!.params;
    for (const [key, tensor] of own.adapters.get("default")!.params) expect(params.get(key), key).toEqual(tensor);
  });
});
