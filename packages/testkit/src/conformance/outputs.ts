import { PeftError, PeftModel } from "@peftjs/core";
import type { BaseModel, HostTensor } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { expect, it } from "vitest";
import { compareAllClose } from "../matchers.ts";
import { tol } from "../close.ts";
import type { Suite } from "./options.ts";
import { attached, isOnLayer, logits, perturb, perturbed, type Subject } from "./run.ts";
import { batchAt, calibrationBatches, tinyModel, type Family } from "./subjects.ts";

/** What a group of checks runs on: one method under one config, one family, one engine. */
export interface Setting {
  readonly suite: Suite;
  readonly subject: Subject;
  readonly family: Family;
  /** Made before the tests run. */
  readonly engine: () => Engine;
}

const NOISE = { seed: 21 };

/** Fresh, switched off, merged, several at once. */
export function checkOutputs({ suite, subject, family, engine }: Setting): void {
  const { capabilities } = suite.method;
  const tolerance = suite.tolerance ?? tol.deep;
  const batch = batchAt(family, 0);
  const run = (model: PeftModel): Promise<HostTensor> => logits(model, { engine: engine(), batch });
  const attachSecond = async (model: PeftModel): Promise<void> => {
    const calibration = { batches: calibrationBatches(family), runner: engine() };
    await model.attach({ ...subject, name: "second", seed: 6, calibration });
  };
  const ofBase = (base: BaseModel = tinyModel(family)): Promise<HostTensor> => run(new PeftModel(base));
  const fresh = (): Promise<PeftModel> => attached(subject, { family, engine: engine() });
  const moved = (): Promise<PeftModel> => perturbed(subject, { family, engine: engine() });

  it(`a fresh adapter ${capabilities.identityAtStart ? "leaves" : "changes"} the output`, async () => {
    const { pass, message } = compareAllClose(await run(await fresh()), await ofBase(), tolerance);
    expect(pass, message()).toBe(capabilities.identityAtStart);
  });

  it("a perturbed adapter changes the output, and switched off it does not", async () => {
    const model = await moved();
    expect(compareAllClose(await run(model), await ofBase(), tolerance).pass).toBe(false);
    expect((await model.disable(() => run(model))).data).toEqual((await ofBase()).data);
    model.setActive([]);
    expect((await run(model)).data).toEqual((await ofBase()).data);
  });

  it("never writes to the base model", async () => {
    const base = tinyModel(family);
    const before = new Map([...base.parameters].map(([name, { data }]) => [name, data.slice()]));
    const model = await attached(subject, { family, engine: engine(), base });
    perturb(model);
    if (capabilities.merge) model.merge();
    await run(model);
    for (const [name, { data }] of base.parameters) expect(data, name).toEqual(before.get(name));
  });

  if (capabilities.merge) {
    it("merged equals unmerged, merging twice is merging once, unmerging restores every bit", async () => {
      const model = await moved();
      const expected = await run(model);
      model.merge({ safe: true });
      const merged = await run(model);
      expectClose(merged, expected);
      model.merge();
      expect((await run(model)).data).toEqual(merged.data);
      expect((await model.disable(() => run(model))).data).toEqual((await ofBase()).data);
      expectClose(await ofBase(model.mergeAndUnload()), expected);
      model.unmerge();
      expect((await run(model)).data).toEqual(expected.data);
      expectClose(await ofBase(model.mergeAndUnload()), expected);
    });

    it("a safe merge refuses what is not finite and leaves everything as it was", async () => {
      const model = await moved();
      const [name, tensor] = Object.entries(model.trainable()).find(([key]) => isOnLayer(model, key)) ?? [];
      if (name === undefined || tensor === undefined) return;
      const expected = await run(model);
      const bad = tensor.data.slice() as Float32Array;
      bad[0] = Number.NaN;
      model.setTrainable({ [name]: { ...tensor, data: bad } as HostTensor });
      expect(() => model.merge({ safe: true })).toThrow(PeftError);
      expect(model.merged).toEqual([]);
      model.setTrainable({ [name]: tensor });
      expect((await run(model)).data).toEqual(expected.data);
    });
  } else {
    it("refuses to merge", async () => {
      const model = await moved();
      expect(() => model.merge()).toThrow(expect.objectContaining({ code: "MERGE_UNSUPPORTED" }));
      expect(model.merged).toEqual([]);
    });
  }

  it("two adapters: switching is exact, deleting one leaves the other", async () => {
    const model = await moved();
    const first = await run(model);
    await attachSecond(model);
    expect((await run(model)).data).toEqual(first.data);
    model.setActive("second");
    perturb(model, NOISE);
    const other = await run(model);
    expect(other.data).not.toEqual(first.data);
    model.setActive("default");
    expect((await run(model)).data).toEqual(first.data);
    model.setActive("second");
    expect((await run(model)).data).toEqual(other.data);
    model.detach("default");
    expect(model.active).toEqual(["second"]);
    expect((await run(model)).data).toEqual(other.data);
  });

  it(`two adapters at once ${capabilities.multiAdapter ? "work together" : "are refused"}`, async () => {
    const model = await fresh();
    await attachSecond(model);
    const both = (): void => model.setActive(["default", "second"]);
    if (!capabilities.multiAdapter) {
      expect(both).toThrow(expect.objectContaining({ code: "ADAPTER_CONFLICT" }));
      expect(model.active).toEqual(["default"]);
      return;
    }
    both();
    // The heads stay equal: of several, the last adapter's is used.
    perturb(model, { ...NOISE, layersOnly: true });
    const together = await run(model);
    if (!capabilities.merge) return;
    // Changes of weights do not ask who came first.
    model.setActive(["second", "default"]);
    expectClose(await run(model), together);
    model.merge();
    expectClose(await run(model), together);
    model.unmerge();
    model.merge({ adapters: ["second"] });
    expectClose(await run(model), together);
  });

  function expectClose(actual: HostTensor, expected: HostTensor): void {
    const { pass, message } = compareAllClose(actual, expected, tolerance);
    expect(pass, message()).toBe(true);
  }
}
