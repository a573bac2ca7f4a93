import { installMatchers, tol } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { added, fill, logits, tinyModel, trainsAll } from "../test/tiny.ts";
import { int32, peft, PeftModel } from "./index.ts";

installMatchers();

describe("several adapters", () => {
  const two = async (): Promise<PeftModel> => {
    const model = await peft(tinyModel()).use(added, {}, { name: "one" }).apply();
    await model.attach({ name: "two", method: added, config: { targetModules: ["value", "query"] }, seed: 3 });
    model.setActive(["two"]);
    fill(model, 8);
    model.setActive(["one"]);
    fill(model, 9);
    return model;
  };

  it("switch without a trace, and equal states have equal structures", async () => {
    const model = await two();
    const [structure, first] = [model.structure, logits(model)];
    model.setActive("two");
    expect(model.structure).not.toBe(structure);
    expect(logits(model)).not.toBeAllClose(first);
    expect(Object.keys(model.trainable()).every((key) => key.startsWith("two."))).toBe(true);
    model.setActive(["one"]);
    expect(model.structure).toBe(structure);
    expect(logits(model)).toBeAllClose(first, tol.exact);
  });

  it("add up when both are active; the last one's head counts and alone learns", async () => {
    const model = await two();
    model.setActive(["one", "two"]);
    const keys = Object.keys(model.trainable());
    expect(keys).toContain("two.classifier.weight");
    expect(keys).not.toContain("one.classifier.weight");
    expect(keys).toContain("one.body.layer.0.query.b");
    const both = logits(model);
    const merged = model.mergeAndUnload({ safe: true });
    expect(logits(new PeftModel(merged))).toBeAllClose(both);
    model.setActive(["one", "two"], { trainable: ["one"] });
    expect(Object.keys(model.trainable()).every((key) => key.startsWith("one."))).toBe(true);
    expect(Object.keys(model.frozen())).toContain("two.classifier.weight");
    expect(logits(model)).toBeAllClose(both, tol.exact);
  });

  it("are removed and renamed", async () => {
    const model = await two();
    const first = logits(model);
    model.rename("one", "uno");
    expect(model.active).toEqual(["uno"]);
    expect(logits(model)).toBeAllClose(first, tol.exact);
    model.detach("uno");
    expect(model.active).toEqual(["two"]);
    expect(() => model.detach("uno")).toThrow(/No adapter is called "uno".* Attached: two/u);
    await model.attach({ name: "a", method: added });
    model.setActive(["two", "a"]);
    model.detach("two");
    expect(model.active).toEqual(["a"]);
    expect(model.learning).toEqual(["a"]);
    model.detach("a");
    expect(model.active).toEqual([]);
    expect(logits(model)).toBeAllClose(logits(new PeftModel(tinyModel())), tol.exact);
  });

  it("that change the same base parameter are not active together", async () => {
    const method = trainsAll({ multiAdapter: true });
    const model = await peft(tinyModel()).use(method, {}, { name: "one" }).apply();
    await model.attach({ name: "two", method });
    expect(() => model.setActive(["one", "two"])).toThrow(/both change the base parameter "body.embed.weight"/u);
    expect(model.active).toEqual(["one"]);
    expect(() => model.setActive("tow")).toThrow(/Did you mean "two"/u);
  });
});

describe("who learns", () => {
  it("is chosen among the active adapters: one learns beside another that stays as it is", async () => {
    const model = await peft(tinyModel()).use(added, {}, { name: "one" }).apply();
    await model.attach({ name: "two", method: added, seed: 2 });
    model.setActive(["one", "two"]);
    fill(model, 5);
    const both = logits(model);
    model.setLearning(["two"]);
    expect(model.learning).toEqual(["two"]);
    expect(model.active).toEqual(["one", "two"]);
    expect(Object.keys(model.trainable()).every((key) => key.startsWith("two."))).toBe(true);
    expect(logits(model)).toBeAllClose(both, tol.exact);
    model.setLearning([]);
    expect(model.trainable()).toEqual({});
    model.setActive("one");
    expect(() => model.setLearning("two")).toThrow(expect.objectContaining({ code: "ADAPTER_INACTIVE" }));
    expect(() => model.setLearning("tow")).toThrow(expect.objectContaining({ code: "ADAPTER_UNKNOWN" }));
    expect(model.learning).toEqual(["one"]);
  });

  it("is nobody when all adapters are switched off, and the model is the base", async () => {
    const model = await peft(tinyModel()).use(added).apply();
    fill(model, 5);
    model.setActive([]);
    expect(model.trainable()).toEqual({});
    expect(model.structure).toBe(new PeftModel(tinyModel()).structure);
    expect(logits(model)).toBeAllClose(logits(new PeftModel(tinyModel())), tol.exact);
  });
});

describe("a method that allows one active adapter", () => {
  it("is refused a second one", async () => {
    const single = { ...added, capabilities: { ...added.capabilities, multiAdapter: false } };
    const model = await peft(tinyModel()).use(single, {}, { name: "one" }).apply();
    await model.attach({ name: "two", method: single });
    expect(() => model.setActive(["one", "two"])).toThrow(
      /Only one adapter of method "added" can be active, got "one" and "two"/u,
    );
    expect(() => model.setActive(["two"])).not.toThrow();
  });
});

describe("an adapter that cannot be active", () => {
  it("is not left behind", async () => {
    const model = await peft(tinyModel())
      .use(trainsAll({ multiAdapter: true }), {}, { name: "all" })
      .apply();
    const adapter = model.detach("all");
    const other = {
      ...adapter,
      tokens: [{ path: "body.embed", tables: ["body.embed.weight"], ids: [], places: int32([], [0]) }],
    };
    expect(() => model.insert(other)).toThrow(expect.objectContaining({ code: "ADAPTER_CONFLICT" }));
    expect([...model.adapters.keys()]).toEqual([]);
    expect(model.active).toEqual([]);
  });
});

describe("disable", () => {
  it("runs the base model and switches back, also after errors and promises", async () => {
    const model = await peft(tinyModel()).use(added).apply();
    fill(model, 3);
    const [structure, adapted] = [model.structure, logits(model)];
    const base = logits(new PeftModel(tinyModel()));
    expect(model.disable(() => logits(model))).toBeAllClose(base, tol.exact);
    expect(await model.disable(async () => Promise.resolve().then(() => logits(model)))).toBeAllClose(base, tol.exact);
    expect(() =>
      model.disable(() => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    model.merge();
    expect(model.disable(() => logits(model))).toBeAllClose(base, tol.exact);
    model.unmerge();
    expect(model.structure).toBe(structure);
    expect(logits(model)).toBeAllClose(adapted, tol.exact);
  });
});
