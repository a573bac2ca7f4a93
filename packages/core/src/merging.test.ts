import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { added, fill, logits, measured, multiplied, tinyModel } from "../test/tiny.ts";
import { float32, peft, PeftModel, type HostTensor, type Method } from "./index.ts";

installMatchers();

describe("merge", () => {
  it("computes the same, once however often it is called, and unmerges bit for bit", async () => {
    const model = await peft(tinyModel()).use(added, { targetModules: "all-linear" }).apply();
    fill(model, 6);
    const adapted = logits(model);
    const weights = (): number[] => Object.values(model.frozen()).flatMap(({ data }) => [...data]);
    const before = weights();
    model.merge({ safe: true });
    const once = weights();
    expect(logits(model)).toBeAllClose(adapted);
    expect(Object.keys(model.trainable())).toEqual([]);
    model.merge();
    expect(weights()).toEqual(once);
    expect(model.merged).toEqual(["default"]);
    for (const act of [() => model.detach("default"), () => model.setActive([])])
      expect(act).toThrow(/is merged and cannot/u);
    model.unmerge();
    expect(weights()).toEqual(before);
    expect(logits(model)).toBeAllClose(adapted, tol.exact);
  });

  it("and unload gives an independent base model", async () => {
    const base = tinyModel();
    const model = await peft(base).use(added).apply();
    fill(model, 6);
    const adapted = logits(model);
    const merged = model.mergeAndUnload({ safe: true });
    expect(model.merged).toEqual([]);
    expect([...merged.parameters.keys()]).toEqual([...base.parameters.keys()]);
    expect(logits(new PeftModel(merged))).toBeAllClose(adapted);
    expect(logits(model)).toBeAllClose(adapted, tol.exact);
  });

  it("refuses values that are not finite when safe, and changes nothing then", async () => {
    const model = await peft(tinyModel()).use(added).apply();
    fill(model, 6);
    const key = "default.body.layer.1.query.a";
    const value = model.trainable()[key] as HostTensor;
    model.setTrainable({
      [key]: float32(
        Float32Array.from(value.data, (x, i) => (i === 3 ? NaN : x)),
        value.shape,
      ),
    });
    expect(() => model.merge({ safe: true })).toThrow(
      /Merging the adapter "default" would put NaN at position \d+ of "body.layer.1.query.weight"/u,
    );
    expect(model.merged).toEqual([]);
    expect(() => model.mergeAndUnload({ safe: true })).toThrow(expect.objectContaining({ code: "MERGE_NOT_FINITE" }));
    expect(() => model.merge()).not.toThrow();
  });

  it("is refused for a method that cannot", async () => {
    const fixed: Method = { ...added, capabilities: { ...added.capabilities, merge: false } } as unknown as Method;
    const model = await peft(tinyModel()).use(fixed).apply();
    expect(() => model.merge()).toThrow(expect.objectContaining({ code: "MERGE_UNSUPPORTED" }));
  });

  it("unties the weight of the layer that it changes", async () => {
    const base = tinyModel();
    const model = await peft(base)
      .use(added, { targetModules: ["embed"] })
      .apply();
    const merged = model.mergeAndUnload();
    expect(merged.parameters.get("decoder.weight")).toBe(base.parameters.get("decoder.weight"));
    expect(merged.parameters.get("body.embed.weight")).not.toBe(base.parameters.get("body.embed.weight"));
  });

  it("leaves no tensors behind", async () => {
    const model = await peft(tinyModel()).use(added).apply();
    const { numTensors } = tf.memory();
    model.merge({ safe: true });
    model.mergeAndUnload();
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});

describe("merging beside other adapters", () => {
  const both = async (first: Method, second: Method): Promise<PeftModel> => {
    const model = new PeftModel(tinyModel());
    await model.attach({ name: "first", method: first, config: { targetModules: ["query", "value"] }, seed: 1 });
    await model.attach({ name: "second", method: second, config: { targetModules: ["query", "value"] }, seed: 2 });
    model.setActive(["first", "second"]);
    fill(model, 11);
    return model;
  };
  const toy = (method: Method<never>): Method => method as unknown as Method;
  const [plus, times, own] = [toy(added as never), toy(multiplied as never), toy(measured as never)];

  it.each([
    ["adds, then multiplies", plus, times],
    ["multiplies, then adds", times, plus],
    ["measures, then adds", own, plus],
    ["adds, then measures", plus, own],
    ["adds twice", plus, plus],
  ])("%s: merged equals forward, unmerge restores every bit", async (_, first, second) => {
    const model = await both(first, second);
    const [structure, adapted] = [model.structure, logits(model)];
    const weights = (): number[] => Object.values(model.frozen()).flatMap(({ data }) => [...data]);
    const before = weights();
    // One merge of both, and two merges on top of each other.
    for (const merges of [[["first", "second"]], [["first"], ["second"]]]) {
      for (const adapters of merges) {
        model.merge({ adapters, safe: true });
        expect(logits(model)).toBeAllClose(adapted);
      }
      expect(model.merged).toEqual(["first", "second"]);
      model.unmerge();
      expect(weights()).toEqual(before);
      expect(model.structure).toBe(structure);
      expect(logits(model)).toBeAllClose(adapted, tol.exact);
    }
    expect(logits(new PeftModel(model.mergeAndUnload()))).toBeAllClose(adapted);
  });

  it("a method that measures its layer measures the own weight, not the merged one", async () => {
    const model = await both(own, plus);
    const adapted = logits(model);
    model.merge({ adapters: ["second"] });
    expect(Object.keys(model.frozen())).toContain("unmerged:body.layer.0.query.weight");
    expect(logits(model)).toBeAllClose(adapted);
    const innermost: boolean[] = [];
    const spying = {
      ...own,
      forward: (context: never) => {
        innermost.push((context as { innermost: boolean }).innermost);
        return (own.forward as (context: never) => tf.Tensor2D)(context);
      },
    } as Method;
    const spied = await both(spying, plus);
    logits(spied);
    spied.merge({ adapters: ["second"] });
    logits(spied);
    expect(innermost).toEqual([true, true, true, false, false, false]);
  });

  it("is a stack: the last merge comes off alone, and what is merged stays active", async () => {
    const model = await both(plus, times);
    model.merge({ adapters: ["first"] });
    const [structure, once] = [model.structure, logits(model)];
    const weight = model.frozen()["body.layer.0.query.weight"];
    model.merge();
    expect(model.merged).toEqual(["first", "second"]);
    expect(model.frozen()["body.layer.0.query.weight"]).not.toBe(weight);
    model.rename("first", "uno");
    model.unmerge({ last: true });
    expect(model.merged).toEqual(["uno"]);
    expect(model.frozen()["body.layer.0.query.weight"]).toBe(weight);
    model.rename("uno", "first");
    expect(model.structure).toBe(structure);
    expect(logits(model)).toBeAllClose(once, tol.exact);
    expect(() => model.setActive(["second"])).toThrow(expect.objectContaining({ code: "ADAPTER_MERGED" }));
    model.unmerge({ last: true });
    model.unmerge({ last: true });
    expect(model.merged).toEqual([]);
  });

  it("a merge that fails leaves the merges before it", async () => {
    const model = await both(plus, times);
    model.merge({ adapters: ["first"] });
    const once = logits(model);
    model.setTrainable({ "second.body.layer.0.query.l": float32([NaN, 1, 1, 1], [4]) });
    expect(() => model.merge({ safe: true })).toThrow(expect.objectContaining({ code: "MERGE_NOT_FINITE" }));
    expect(model.merged).toEqual(["first"]);
    expect(model.active).toEqual(["first", "second"]);
    model.setActive(["first"]);
    expect(once.every(Number.isFinite)).toBe(true);
    expect(logits(model).every(Number.isFinite)).toBe(true);
  });

  it("mergeAndUnload takes the named adapters, with what is merged already, and says how far it is", async () => {
    const model = await both(plus, times);
    model.setActive(["first"]);
    const first = logits(model);
    model.setActive(["first", "second"]);
    const all = logits(model);
    const seen: string[] = [];
    const unloaded = model.mergeAndUnload({
      adapters: ["first"],
      onProgress: ({ done, total }) => seen.push(`${done}/${total}`),
    });
    expect(seen).toEqual(["1/3", "2/3", "3/3"]);
    expect(logits(new PeftModel(unloaded))).toBeAllClose(first);
    model.merge({ adapters: ["first"] });
    expect(logits(new PeftModel(model.mergeAndUnload({ adapters: ["second"] })))).toBeAllClose(all);
    expect(model.merged).toEqual(["first"]);
    expect(model.active).toEqual(["first", "second"]);
  });
});

describe("unload", () => {
  it("gives the base model with the active adapter's saved modules, and nothing else of it", async () => {
    const base = tinyModel();
    const model = await peft(base).use(added, {}, { name: "one" }).apply();
    await model.attach({ name: "two", method: added });
    model.setActive(["one", "two"]);
    fill(model, 4);
    const plain = model.unload();
    const head = model.adapters.get("two")?.overrides.get("classifier.weight")?.tensor;
    expect(plain.parameters.get("classifier.weight")).toBe(head);
    expect(head?.data).not.toEqual(base.parameters.get("classifier.weight")?.data);
    for (const [name, tensor] of base.parameters)
      if (!name.startsWith("classifier")) expect(plain.parameters.get(name)).toBe(tensor);
    expect([...plain.parameters.keys()]).toEqual([...base.parameters.keys()]);
  });
});
