import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { float32 } from "@peftjs/core";
import type { KernelDefinition } from "@peftjs/engine";
import { registerLowering } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { compare, cpu, onnx, run, values } from "./harness.ts";

const X = { x: float32([1, 2, 3], [3]) };

/** Adds `amount` to x. */
function adding(name: string, amount: number): KernelDefinition {
  return {
    name,
    infer: (call) => [call.input("x")],
    lower: ({ args, emit }) => [emit.op("Add", [args[0] as string, emit.scalar(amount)])],
  };
}

const call =
  (name: string) =>
  ({ x }: Record<string, tf.Tensor>): tf.Tensor =>
    tf.engine().runKernel(name, { x: x as tf.Tensor });

async function valuesOf(name: string): Promise<number[]> {
  return Array.from((await run(onnx, call(name), X)).data);
}

const undo: (() => void)[] = [];

function register(...args: Parameters<typeof registerLowering>): () => void {
  const remove = registerLowering(...args);
  undo.push(remove);
  return remove;
}

afterEach(() => {
  for (const remove of undo.splice(0).reverse()) remove();
});

describe("registerLowering", () => {
  it("adds a kernel to engines that are open already, and takes it away again", async () => {
    await expect(valuesOf("Own")).rejects.toMatchObject({ code: "KERNEL_MISSING" });
    const remove = register(adding("Own", 1));
    expect(await valuesOf("Own")).toEqual([2, 3, 4]);
    remove();
    await expect(valuesOf("Own")).rejects.toMatchObject({ code: "KERNEL_MISSING" });
    remove();
    register(adding("Own", 2));
    remove();
    expect(await valuesOf("Own")).toEqual([3, 4, 5]);
  });

  it("leaves programs that exist as they are", async () => {
    const compiled = onnx.compile(({ inputs = {} }) => ({ out: { y: call("Own")(inputs) } }));
    const first = async (): Promise<number | undefined> => (await compiled.run({ inputs: X }))["out"]?.["y"]?.data[0];
    const remove = register(adding("Own", 1));
    expect(await first()).toBe(2);
    remove();
    expect(await first()).toBe(2);
    await compiled.dispose();
  });

  it("replaces only when asked, and brings back what it replaced in any order of removal", async () => {
    const first = register(adding("Own", 1));
    expect(() => registerLowering(adding("Own", 2))).toThrow(/Kernel Own has a lowering already.*replace: true/);
    const second = register(adding("Own", 2), { replace: true });
    const third = register(adding("Own", 3), { replace: true });
    expect(await valuesOf("Own")).toEqual([4, 5, 6]);
    second();
    expect(await valuesOf("Own")).toEqual([4, 5, 6]);
    third();
    expect(await valuesOf("Own")).toEqual([2, 3, 4]);
    first();
    await expect(valuesOf("Own")).rejects.toMatchObject({ code: "KERNEL_MISSING" });
  });

  it("replaces a kernel of the engine", async () => {
    const negated = ({ x }: Record<string, tf.Tensor>): tf.Tensor => tf.neg(x as tf.Tensor);
    const remove = register(adding("Neg", 10), { replace: true });
    expect(Array.from((await run(onnx, negated, X)).data)).toEqual([11, 12, 13]);
    remove();
    expect(Array.from((await run(onnx, negated, X)).data)).toEqual([-1, -2, -3]);
  });

  it("says nothing on the console", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    register(adding("Own", 1))();
    register(adding("Own", 1), { replace: true })();
    register(adding("Neg", 1), { replace: true })();
    await compare(({ x }) => tf.neg(x as tf.Tensor), X);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });

  it.each([
    ["name", { infer: () => [], lower: () => [] }],
    ["infer and lower", { name: "Own" }],
  ])("refuses a definition without %s", (missing, definition) => {
    expect(() => registerLowering(definition as unknown as KernelDefinition)).toThrow(
      expect.objectContaining({ code: "LOWERING_INVALID", message: expect.stringContaining(`lacks ${missing}`) }),
    );
  });

  it("compiles a kernel of tfjs that the engine leaves out", async () => {
    const flip = ({ x }: Record<string, tf.Tensor>): tf.Tensor => tf.image.flipLeftRight(x as tf.Tensor4D);
    const image = { x: values([2, 3, 4, 1]) };
    await expect(run(onnx, flip, image)).rejects.toMatchObject({ code: "KERNEL_MISSING" });
    register({
      name: "FlipLeftRight",
      infer: (kernel) => [kernel.input("image")],
      lower: ({ args: [x], emit }) => {
        const [start, end, axis, step] = [-1, -(2 ** 31), 2, -1].map((value) => emit.ints([value]));
        return [emit.op("Slice", [x, start, end, axis, step] as string[])];
      },
    });
    await compare(flip, image);
  });

  it("returns a list, also of one tensor, where the definition says so", async () => {
    const halves: KernelDefinition = {
      name: "Own",
      list: true,
      infer: (kernel) => {
        const { shape, dtype } = kernel.input("x");
        return Array.from({ length: kernel.number("parts") }, () => ({ shape, dtype }));
      },
      lower: ({ args, outputs }) => outputs.map(() => args[0] as string),
    };
    register(halves);
    for (const parts of [1, 2]) {
      const summed = ({ x }: Record<string, tf.Tensor>): tf.Tensor => {
        const list: unknown = tf.engine().runKernel("Own", { x: x as tf.Tensor }, { parts });
        expect(list).toHaveLength(parts);
        return tf.addN(list as tf.Tensor[]);
      };
      expect(Array.from((await run(onnx, summed, X)).data)).toEqual([1, 2, 3].map((value) => value * parts));
    }
  });

  it("is seen by operations that ask tfjs which kernels there are", async () => {
    const own = ({ x }: Record<string, tf.Tensor>): tf.Tensor =>
      tf.getKernel("Own", tf.getBackend()) === undefined
        ? tf.add(x as tf.Tensor, 1)
        : call("Own")({ x: x as tf.Tensor });
    const both = async (): Promise<number[]> => [
      (await run(cpu, own, X)).data[0] as number,
      (await run(onnx, own, X)).data[0] as number,
    ];
    expect(await both()).toEqual([2, 2]);
    const remove = register(adding("Own", 5));
    expect(await both()).toEqual([2, 6]);
    remove();
    expect(await both()).toEqual([2, 2]);
  });
});

it("the example of an operation with its gradient runs", () => {
  const root = new URL("../../../", import.meta.url);
  const tsx = createRequire(new URL("package.json", root)).resolve("tsx");
  const main = fileURLToPath(new URL("examples/custom-op/main.ts", root));
  const output = execFileSync(process.execPath, ["--conditions=@peftjs/source", "--import", tsx, main], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  // hardSwish at −4, −3, −1.5, 0, 1, 2.5, 3, 5 and its slope, worked out by hand. At −3 and 3 the slope is that of the middle.
  expect(output).toContain("y: 0.000 0.000 -0.375 0.000 0.667 2.292 3.000 5.000 ");
  expect(output).toContain("gradient: 0.000 -0.500 0.000 0.500 0.833 1.333 1.500 1.000 ");
});
