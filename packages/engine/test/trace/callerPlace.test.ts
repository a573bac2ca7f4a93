import { describe, expect, it } from "vitest";
import { callerOf } from "../../src/onnx/trace/callerPlace.ts";

const stack = (...frames: string[]): string => ["Error: x", ...frames.map((frame) => `    at ${frame}`)].join("\n");

const ENGINE = new URL("../../src/onnx/trace/backend.ts", import.meta.url).href;
const CORE = new URL("../../../core/src/ops/gelu.ts", import.meta.url).pathname;

/** The same call, tf.matMul in a user's layer, as different installations and runners print it. */
const TFJS: Record<string, string[]> = {
  npm: [
    "Object.kernelFunc (file:///home/me/node_modules/@peftjs/engine/dist/index.js:10:5)",
    "Engine.runKernel (/home/me/node_modules/@tensorflow/tfjs-core/dist/tf-core.node.js:3200:10)",
    "matMul_ (/home/me/node_modules/@tensorflow/tfjs-core/dist/tf-core.node.js:4200:10)",
    "Object.matMul__op (/home/me/node_modules/@tensorflow/tfjs-core/dist/tf-core.node.js:4100:10)",
  ],
  "npm with source maps": [
    "Object.kernelFunc (/home/me/node_modules/@peftjs/engine/src/onnx/trace/backend.ts:10:5)",
    "__awaiter (/home/me/node_modules/tslib/tslib.es6.js:72:12)",
    "Module.matMul__op (/home/me/tfjs-core/src/ops/operation.ts:51:28)",
  ],
  pnpm: [
    "Object.kernelFunc (/home/me/node_modules/.pnpm/@peftjs+engine@0.1.0/node_modules/@peftjs/engine/dist/index.js:1:5)",
    "Module.matMul__op (/home/me/node_modules/.pnpm/@tensorflow+tfjs-core@4.22.0/tfjs-core/src/ops/operation.ts:51:28)",
  ],
  checkout: [`TraceBackend.record (${ENGINE}:1:2)`, "matMul__op (node:internal/x:1:2)"],
};

describe("the caller's place", () => {
  it.each(Object.entries(TFJS))("%s", (_, frames) => {
    expect(callerOf(stack(...frames, "forward (/home/me/layer.ts:12:7)", "main (/home/me/main.ts:1:1)"))).toEqual({
      place: "/home/me/layer.ts:12:7",
      callee: "tf.matMul",
    });
  });

  it.each([
    ["Tensor.Tensor.dataSync", "Tensor.dataSync"],
    ["Variable.dataSync [as print]", "Tensor.dataSync"],
    ["whereAsync_", "tf.whereAsync"],
    ["async Object.booleanMaskAsync_", "tf.booleanMaskAsync"],
    ["Engine.Engine.runKernel", "tf.engine().runKernel"],
    ["<anonymous>", null],
  ])("%s is called %s", (name, callee) => {
    const frames = [`${name} (/x/node_modules/@tensorflow/tfjs-core/dist/tf-core.node.js:1:1)`, "f (/x/a.js:1:2)"];
    expect(callerOf(stack(...frames))?.callee).toBe(callee);
  });

  it.each([
    ["file:///home/a%20b/x.mjs:3:4", "/home/a b/x.mjs:3:4"],
    ["f (file:///home/me/x.ts?t=1700000000:3:4)", "/home/me/x.ts:3:4"],
    ["async f (/home/me (old)/x.ts:3:4)", "/home/me (old)/x.ts:3:4"],
    ["new Layer (C:\\me\\x.ts:3:4)", "C:\\me\\x.ts:3:4"],
    ["f (file://%2f/x.ts:3:4)", "file://%2f/x.ts:3:4"],
    ["f (/home/me/engine/src/x.ts:3:4)", "/home/me/engine/src/x.ts:3:4"],
    ["f (/home/me/packages/core/dist/x.ts:3:4)", "/home/me/packages/core/dist/x.ts:3:4"],
  ])("reads the frame %s", (frame, place) => {
    expect(callerOf(stack(frame))?.place).toBe(place);
  });

  it("is behind PEFT.js's own operations, which it names", () => {
    const frames = [
      "Module.mul__op (/x/@tensorflow/tfjs-core/dist/a.js:1:1)",
      `gelu (${CORE}:15:3)`,
      "f (/x/a.js:5:6)",
    ];
    expect(callerOf(stack(...frames))).toEqual({ place: "/x/a.js:5:6", callee: "gelu" });
  });

  it("is unknown where no frame is the caller's", () => {
    expect(callerOf(stack("Array.map (<anonymous>)", "f (node:internal/timers:1:2)"))).toBeNull();
    expect(callerOf("")).toBeNull();
  });
});
