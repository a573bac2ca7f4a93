import { peft } from "@peftjs/core";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import { describeOnEngines, lossProgram } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { largest } from "../src/index.ts";
import type { SiftConfig } from "../src/index.ts";
import { attach, batches, chosen, dense, gradientBatch, singleLayer, tinyRoberta } from "./single.ts";

describeOnEngines("the selection", (engine) => {
  const attached = (config: Partial<SiftConfig>, warnings: string[] = []): Promise<PeftModel> =>
    attach(config, { base: tinyRoberta(), engine: engine(), warnings });

  /** Gradients of the whole weights, batch by batch. */
  async function gradients(): Promise<Named<HostTensor>[]> {
    const model = await peft(tinyRoberta()).use(dense, {}).apply();
    const program = lossProgram(model, engine());
    const found: Named<HostTensor>[] = [];
    for (const batch of batches) found.push((await program.run(batch)).gradients);
    await program.dispose();
    return found;
  }

  it.each([
    ["abs-of-sum", 1],
    ["abs-of-sum", 3],
    ["sum-of-abs", 3],
  ] as const)("takes the largest of the gradients, %s of %i batches", async (selectionReduce, selectionBatches) => {
    const all = (await gradients()).slice(0, selectionBatches);
    const found = chosen(await attached({ rate: 0.15, selectionReduce, selectionBatches }));
    expect(Object.keys(found)).toHaveLength(2 * 2 * 2);
    for (const [key, places] of Object.entries(found)) {
      const name = `default.${key.replace(/\.indices$/u, ".weight").replace(/\.biasIndices$/u, ".bias")}`;
      const scores = Float32Array.from(all[0]![name]!.data, (_, i) =>
        all.reduce((sum, each) => {
          const value = each[name]!.data[i]!;
          return sum + (selectionReduce === "sum-of-abs" ? Math.abs(value) : value);
        }, 0),
      );
      expect(places, name).toEqual([...largest(scores, places.length)]);
    }
  });

  it("is another one for other batches and ways to reduce", async () => {
    const [one, sum, sizes] = [
      chosen(await attached({ rate: 0.15 })),
      chosen(await attached({ rate: 0.15, selectionBatches: 3 })),
      chosen(await attached({ rate: 0.15, selectionBatches: 3, selectionReduce: "sum-of-abs" })),
    ];
    expect(sum).not.toEqual(one);
    expect(sizes).not.toEqual(sum);
  });

  it("counts places along the outputs however the weight is stored, ties to the lower one", async () => {
    // Of the ones, that at (0, 1) comes before that at (1, 0), which is stored first as [in, out].
    const data = [gradientBatch([0, 1, 0, 1, 0, -3])];
    for (const layout of ["out_in", "in_out"] as const) {
      const model = await attach({ rate: 0.2 }, { base: singleLayer(layout), engine: engine(), data });
      expect(chosen(model)).toEqual({ "layer.indices": [1, 5], "layer.biasIndices": [1] });
    }
  });

  it("by magnitude looks at the weights alone, at random at nothing", async () => {
    const base = tinyRoberta();
    const model = await peft(base).use(dense, {}).apply();
    const found = chosen(await attached({ rate: 0.15, selection: "magnitude" }));
    for (const { site } of model.adapters.get("default")!.layers) {
      const places = found[`${site.path}.indices`]!;
      expect(places).toEqual([...largest(base.parameters.get(site.weight)!.data as Float32Array, places.length)]);
    }
    const random = { rate: 0.15, selection: "random" } as const;
    const [one, same] = [chosen(await attached(random)), chosen(await attached(random))];
    expect(one).toEqual(same);
    expect(one).not.toEqual(found);
    // About as many of the first half as of the second.
    const places = one["roberta.encoder.layer.0.attention.self.query.indices"]!;
    const first = places.filter((place) => place < 128).length;
    expect(places).toHaveLength(39);
    expect(Math.abs(first - places.length / 2)).toBeLessThan(10);
  });

  it("without batches is refused with the way out, and with too few told", async () => {
    const base = tinyRoberta();
    await expect(attach({}, { base, engine: engine(), data: [] })).rejects.toThrow(
      expect.objectContaining({
        code: "CALIBRATION_DATA_MISSING",
        message: expect.stringContaining('selection to "magnitude"') as string,
      }) as Error,
    );
    const warnings: string[] = [];
    await attached({ selectionBatches: 6 }, warnings);
    expect(warnings).toEqual(["SIFT was to choose by the gradients of 6 batches, but was given 4."]);
    await expect(attached({ targetModules: ["word_embeddings"] })).rejects.toThrow("linear layers only");
  });
});
