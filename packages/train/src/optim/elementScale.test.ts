import { float32 } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { expectClose } from "../../test/close.ts";
import { broadcastScale, scaledUpdate } from "./elementScale.ts";
import { resolveGroup } from "./groups.ts";

describe.each(["eager", "onnx"] as const)("scaledUpdate (%s)", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind, threads: 1 });
  });

  it("multiplies each element's change, and is exact where the factor is 0 or 1", async () => {
    const tensors = {
      before: float32([1, 0.7, 0.1, 3, 0.1, 1], [6]),
      after: float32([0.9, 0.5, Infinity, 1e-9, 0.3, 0], [6]),
      scale: float32([4, 0, 0, 1, 0.5, 1], [6]),
    };
    const program = engine.compile(({ tensors: given = {} }) => ({
      out: { after: scaledUpdate(given as Record<keyof typeof tensors, tf.Tensor>) },
    }));
    const { out = {} } = await program.run({ tensors });
    const { data } = out["after"] as HostTensor;
    expectClose([data[0], data[4]] as number[], [0.6, 0.2], 1e-6);
    expect([data[1], data[2], data[3], data[5]]).toEqual([0.7, 0.1, 1e-9, 0].map(Math.fround));
    await program.dispose();
  });
});

describe("broadcastScale", () => {
  it("repeats factors as shapes broadcast", () => {
    const to = (scale: HostTensor, shape: number[]) => Array.from(broadcastScale(scale, { name: "p", shape }).data);
    expect(to(float32([4, 0], [2, 1]), [2, 3])).toEqual([4, 4, 4, 0, 0, 0]);
    expect(to(float32([4, 0, 1], [3]), [2, 3])).toEqual([4, 0, 1, 4, 0, 1]);
    expect(to(float32([2], []), [2, 1])).toEqual([2, 2]);
    expect(to(float32([1, 2, 3, 4], [2, 1, 2]), [2, 2, 2])).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
  });

  it("refuses shapes that do not broadcast, through the group as well", () => {
    const elementScale = float32([1, 2], [2]);
    const parameter = { name: "default.layer.b", shape: [2, 3] };
    const refusal = expect.objectContaining({ code: "SHAPE_MISMATCH" }) as Error;
    expect(() => resolveGroup(parameter, { weightDecay: 0, rule: () => ({ elementScale }) })).toThrow(refusal);
    const fitting = resolveGroup({ ...parameter, shape: [3, 2] }, { weightDecay: 0, rule: () => ({ elementScale }) });
    expect(fitting.elementScale?.data).toEqual(Float32Array.from([1, 2, 1, 2, 1, 2]));
  });
});
