import { existsSync } from "node:fs";
import type { Device, EngineOptions } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import { float32 } from "@peftjs/core";
import type { PeftError } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { listSupportedBackends } from "onnxruntime-node";
import { describe, expect, it } from "vitest";

/** ∂ Σ (x·w)² / ∂ w on the device, and where the engine says it computes. */
async function gradientOn(options: EngineOptions): Promise<{ grads: number[]; device: Device; backend: string }> {
  const engine = await createEngine(options);
  const compiled = engine.compile(({ args: { x, w } = {} }) => ({
    grads: { w: tf.grad((v) => tf.sum(tf.square(tf.matMul(x as tf.Tensor2D, v as tf.Tensor2D))))(w as tf.Tensor) },
  }));
  const { grads } = await compiled.run({ args: { x: float32([1, 2, 3, 4], [2, 2]), w: float32([1, -1], [2, 1]) } });
  await compiled.dispose();
  return { grads: Array.from(grads?.["w"]?.data ?? []), device: engine.device, backend: engine.backend };
}

const failureOf = async (options: EngineOptions): Promise<PeftError> =>
  (await createEngine(options).catch((error: unknown) => error)) as PeftError;

/** What the error must tell where the device is missing: the answer of ONNX Runtime and the remedy. */
const REMEDIES: Readonly<Record<"webgpu" | "cuda", RegExp[]>> = {
  webgpu: [/answered "Failed to get a WebGPU adapter: .+"/, /driver/],
  cuda: [/answered ".*(CUDA|shared library).*"/i, /script\/install\.js --onnxruntime-node-install=cuda12/],
};

describe("the compiled engine", () => {
  it("computes on the processor unless asked otherwise", async () => {
    const expected = { grads: [-8, -12], device: "cpu", backend: "onnxruntime" };
    // x·w = [-1, -1], so the gradient is 2·xᵀ·[-1, -1].
    expect(await gradientOn({ threads: 1 })).toEqual(expected);
    expect(await gradientOn({ threads: 1, device: "cpu" })).toEqual(expected);
  });

  it.each(["webgpu", "cuda"] as const)("computes right on %s, or says at once what is missing", async (device) => {
    const failure = await failureOf({ device, threads: 1 });
    if (!(failure instanceof Error)) {
      expect(await gradientOn({ device, threads: 1 })).toEqual({ grads: [-8, -12], device, backend: "onnxruntime" });
      return;
    }
    expect(failure.code).toBe("DEVICE_UNAVAILABLE");
    expect(failure.message).toContain(`The device "${device}" cannot be used`);
    expect(failure.message).toContain("ONNX Runtime 1.");
    expect(failure.message).toContain('device "cpu"');
    expect(failure.message.length).toBeLessThan(900);
    if (listSupportedBackends().some(({ name }) => name === device)) {
      for (const part of REMEDIES[device]) expect(failure.message).toMatch(part);
    }
    const script = /`node (.+) --/.exec(failure.message)?.[1];
    if (device === "cuda" && script !== undefined) expect(existsSync(script)).toBe(true);
    // The failed attempt leaves the processor usable.
    expect((await gradientOn({ threads: 1 })).grads).toEqual([-8, -12]);
  });

  it("names the devices there are, and the one that was meant", async () => {
    const failure = await failureOf({ device: "webgup" as Device });
    expect(failure).toMatchObject({ code: "DEVICE_UNKNOWN" });
    expect(failure.message).toBe('No device "webgup". Did you mean "webgpu"? There are "cpu", "webgpu", "cuda".');
    expect(await failureOf({ kind: "eager", device: "gpu" as Device })).toMatchObject({ code: "DEVICE_UNKNOWN" });
    expect(await failureOf({ kind: "eagre" as "eager" })).toMatchObject({ code: "ENGINE_UNKNOWN" });
  });
});
