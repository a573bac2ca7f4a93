import { describe, expect, it } from "vitest";
import { both, erased, errorInScales, HALF, QUERY, splitting, STORED_IN_OUT } from "../test/int8.ts";
import { added, fill, logits, tinyModel } from "../test/tiny.ts";
import {
  isInt8,
  narrow,
  peft,
  PeftModel,
  widen,
  type HostTensor,
  type Int8Tensor,
  type Method,
  type StoredTensor,
} from "./index.ts";

describe("merging into weights in eight bits", () => {
  const adapters: readonly [string, Method][] = [
    ["an update", erased],
    ["a replaced weight and its update", splitting],
  ];

  it.each(adapters)("%s: float32 is exact, W + ΔW of the own values", async (_, method) => {
    const [model] = await both(method);
    fill(model, 4);
    const [before, adapted] = [model.frozen(), logits(model)];
    // The same adapter on the same values in float32.
    const own = new Map([...model.base.parameters].map(([name, tensor]) => [name, widen(tensor)]));
    for (const name of [QUERY, STORED_IN_OUT]) own.set(name, widen(before[`default.${name}`] ?? before[name]!));
    const wide = new PeftModel({ ...model.base, parameters: own });
    await wide.attach({ method: erased });
    wide.setTrainable(model.trainable());
    model.merge({ safe: true });
    wide.merge();
    for (const name of [QUERY, STORED_IN_OUT]) expect(model.frozen()[name]).toEqual(wide.frozen()[name]);
    expect(isInt8(model.frozen()["body.layer.1.value.weight"] as StoredTensor)).toBe(true);
    model.unmerge();
    expect(model.frozen()).toEqual(before);
    expect(logits(model)).toEqual(adapted);
  });

  it.each(adapters)("%s: requantized, it is off by half a new scale at most", async (_, method) => {
    const [model] = await both(method);
    fill(model, 4);
    const before = model.frozen();
    const exact = model.mergeAndUnload();
    const rounded = model.mergeAndUnload({ requantize: true });
    for (const [name, tensor] of rounded.parameters) {
      const own = model.base.parameters.get(name) as StoredTensor;
      expect(tensor.dtype, name).toBe(own.dtype);
      if (!isInt8(tensor) || !isInt8(own)) continue;
      expect([tensor.axis, tensor.backward], name).toEqual([own.axis, own.backward]);
      expect(tensor.inputScales, name).toBe(own.inputScales);
      expect(errorInScales(tensor, exact.parameters.get(name) as StoredTensor), name).toBeLessThanOrEqual(HALF);
    }
    expect((rounded.parameters.get(QUERY) as Int8Tensor).scales).not.toEqual(
      (model.base.parameters.get(QUERY) as Int8Tensor).scales,
    );
    expect(model.frozen()).toEqual(before);
    model.merge({ requantize: true });
    expect(model.frozen()[QUERY]).toEqual(rounded.parameters.get(QUERY));
    expect(logits(model)).toEqual(logits(new PeftModel(rounded)));
    model.unmerge();
    expect(model.frozen()).toEqual(before);
  });

  it("several adapters are rounded once, those merged before too, and merges stack", async () => {
    const [model] = await both(erased);
    await model.attach({ name: "second", method: erased, seed: 2 });
    model.setActive(["default", "second"]);
    fill(model, 4);
    const before = model.frozen();
    const exact = model.mergeAndUnload().parameters.get(QUERY) as StoredTensor;
    model.merge({ adapters: ["default"] });
    const first = model.frozen()[QUERY];
    model.merge({ adapters: ["second"], requantize: true });
    expect(errorInScales(model.frozen()[QUERY] as StoredTensor, exact)).toBeLessThanOrEqual(HALF);
    model.unmerge({ last: true });
    expect(model.frozen()[QUERY]).toBe(first);
    // What is merged already can still be rounded, alone.
    expect(isInt8(model.mergeAndUnload({ requantize: true }).parameters.get(QUERY) as StoredTensor)).toBe(true);
    model.merge({ adapters: ["default"], requantize: true });
    expect(isInt8(model.frozen()[QUERY] as StoredTensor)).toBe(true);
    expect(model.merged).toEqual(["default"]);
    model.unmerge();
    expect(model.frozen()).toEqual(before);
  });

  it("what is not finite is refused with its name before anything is rounded", async () => {
    const [model] = await both(erased);
    fill(model, 4);
    for (const { data } of Object.values(model.trainable())) data.fill(NaN);
    const before = model.frozen();
    expect(() => {
      model.merge({ requantize: true });
    }).toThrow(
      expect.objectContaining({ code: "MERGE_NOT_FINITE", message: expect.stringContaining(QUERY) as string }),
    );
    expect(model.frozen()).toEqual(before);
  });

  it.each(["float16", "bfloat16"] as const)("weights in %s are rounded to it", async (dtype) => {
    const base = tinyModel();
    base.parameters.set(QUERY, narrow(base.parameters.get(QUERY) as StoredTensor, dtype));
    const model = await peft(base).use(added).apply();
    fill(model, 4);
    const exact = model.mergeAndUnload().parameters.get(QUERY) as HostTensor;
    const { parameters } = model.mergeAndUnload({ requantize: true });
    expect(parameters.get(QUERY)).toEqual(narrow(exact, dtype));
    expect(parameters.get(STORED_IN_OUT)?.dtype).toBe("float32");
  });
});
