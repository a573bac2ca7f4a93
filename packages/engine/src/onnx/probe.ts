import { createRequire } from "node:module";
import { join } from "node:path";
import type { Named, StoredTensor } from "@peftjs/core";
import { float32, PeftError, quantize } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { env, InferenceSession, listSupportedBackends } from "onnxruntime-node";
import type { Device } from "../devices.ts";
import type { Groups } from "../engine.ts";
import { argumentOf } from "./arguments.ts";
import { lower } from "./lower.ts";
import type { StoredOptions } from "./readStored.ts";
import { simplify } from "./simplify/simplify.ts";
import { trace } from "./trace/trace.ts";
import { writeModel } from "./writer.ts";

/**
 * Adds two numbers on the device, so that a missing adapter or library shows when the engine is opened and not in the middle
 * of a run. The processor is always there and not asked.
 *
 * @throws PeftError `DEVICE_UNAVAILABLE` with ONNX Runtime's answer and what to do.
 */
export async function probeDevice(device: Device): Promise<void> {
  if (device === "cpu") return;
  const platform = `${process.platform}/${process.arch}`;
  const offered = listSupportedBackends().map(({ name }) => name);
  if (!offered.includes(device)) {
    throw unavailable(device, `ONNX Runtime ${version} for ${platform} knows only ${offered.join(", ")}.`);
  }
  const answer = await addTwoNumbers(device).catch((error: unknown) => shorten(error));
  if (answer === 3) return;
  throw unavailable(
    device,
    `ONNX Runtime ${version} for ${platform} answered ${String(answer)}. ${REMEDIES[device]()}`,
  );
}

const version = env.versions.node ?? env.versions.common;

function addTwoNumbers(device: Device): Promise<number | undefined> {
  const pair = { a: float32([1], [1]), b: float32([2], [1]) };
  const sum = ({ a, b }: Named<tf.Tensor>): tf.Tensor => tf.add(a as tf.Tensor, b as tf.Tensor);
  return runOnce(sum, pair, { device, largest: null });
}

let known: Promise<number> | undefined;

/**
 * The largest integer that a product multiplies with numbers of eight bits, or null where there is no such product. Processors without
 * instructions for it (x86 before VNNI) add two products of an unsigned and a signed byte in 16 bits, which holds them only when
 * one of them has seven bits.
 */
export async function largestFactor(device: Device): Promise<number | null> {
  if (device !== "cpu") return null;
  known ??= holdsPairs().then((holds) => (holds ? 127 : 63));
  return known;
}

/** Whether the sum of the largest products is right. */
async function holdsPairs(): Promise<boolean> {
  const terms = 64;
  const ones = float32(new Float32Array(terms * 16).fill(1), [16, terms]);
  const pair = { a: ones, w: quantize(ones, { axis: 0 }) };
  const product = ({ a, w }: Named<tf.Tensor>): tf.Tensor => tf.matMul(a as tf.Tensor, w as tf.Tensor, false, true);
  const sum = await runOnce(product, pair, { device: "cpu", largest: 127 });
  return Math.abs((sum ?? 0) - terms) < 1;
}

/** First value of a function's result, in a session of its own: the errors of a program speak of the caller's function. */
async function runOnce(
  fn: (args: Named<tf.Tensor>) => tf.Tensor,
  args: Named<StoredTensor>,
  { device, largest }: StoredOptions & { readonly device: Device },
): Promise<number | undefined> {
  const whole = ({ in: named = {} }: Groups<tf.Tensor>): Groups<tf.Tensor> => ({ out: { value: fn(named) } });
  const lowered = lower(simplify(trace(whole, { in: args })), { largest });
  const session = await InferenceSession.create(writeModel(lowered), {
    executionProviders: [device],
    logSeverityLevel: 3,
  });
  try {
    const feeds = lowered.inputs.map((input) => [
      input.onnxName,
      argumentOf(args[input.name] as StoredTensor, input.part),
    ]);
    const results = await session.run(Object.fromEntries(feeds) as InferenceSession.FeedsType);
    return Object.values(results)[0]?.data[0] as number;
  } finally {
    await session.release();
  }
}

function unavailable(device: Device, why: string): PeftError {
  return new PeftError("DEVICE_UNAVAILABLE", `The device "${device}" cannot be used: ${why} Or use device "cpu".`);
}

/** The sentence that says what failed, without the place in ONNX Runtime's source in front of it. */
function shorten(error: unknown): string {
  const lines = (error instanceof Error ? error.message : String(error)).trim().split("\n");
  const sentence = (lines[0] ?? "").replace(/^\/\S+:\d+ .* was false\. /, "");
  return `"${sentence.slice(0, 300)}"`;
}

const REMEDIES: Readonly<Record<Exclude<Device, "cpu">, () => string>> = {
  webgpu: () =>
    process.platform === "linux"
      ? "WebGPU needs the Vulkan loader (Debian: libvulkan1) and the graphics card's Vulkan driver (for Intel and AMD: mesa-vulkan-drivers); `vulkaninfo --summary` lists what is found."
      : "WebGPU needs the graphics card's current driver.",
  cuda: () =>
    `CUDA needs NVIDIA's driver, CUDA 12 with cuDNN 9 on the library path, and ONNX Runtime's CUDA libraries, which its npm package does not hold: fetch them with \`node ${installScript()} --onnxruntime-node-install=cuda12\`.`,
};

/** onnxruntime-node's own script; where this package lies, depends on the package manager. */
function installScript(): string {
  const main = createRequire(import.meta.url).resolve("onnxruntime-node");
  return join(main, "..", "..", "script", "install.js");
}
