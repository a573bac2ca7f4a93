import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HostTensor, Named } from "@peftjs/core";
import { float32 } from "@peftjs/core";
import { gate } from "@peftjs/core/internal";
import type { Groups, TensorFunction } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import { scratchFolders, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { OnnxGraph, OnnxNode } from "../src/onnx/emitter.ts";
import { lowerFunction } from "../src/onnx/programErrors.ts";
import { cpu, onnx, values } from "./harness.ts";

type Args = Groups<HostTensor>;
type Tensors = Record<string, tf.Tensor2D>;

const scalar = (value: number): HostTensor => float32([value], []);
const isProduct = ({ type }: OnnxNode): boolean => /MatMul|Gemm/u.test(type);
const thenOf = (node: OnnxNode): OnnxGraph => node.attributes["then_branch"] as OnnxGraph;

interface Placed {
  readonly outside: readonly OnnxNode[];
  /** The nodes of every branch. */
  readonly branches: readonly (readonly OnnxNode[])[];
}

/** Where the nodes of the function's program are. */
function placed(fn: TensorFunction, args: Args): Placed {
  const { nodes } = lowerFunction({ fn, args, overwrites: [], largest: null }).emit;
  const branches = nodes.filter(({ type }) => type === "If").map((node) => thenOf(node).nodes);
  return { outside: nodes.filter(({ type }) => type !== "If"), branches };
}

const types = (nodes: readonly OnnxNode[]): string[] => nodes.map(({ type }) => type);
const products = (nodes: readonly OnnxNode[]): number => nodes.filter(isProduct).length;

async function compareEngines(fn: TensorFunction, args: Args): Promise<void> {
  const [compiled, eager] = [onnx.compile(fn), cpu.compile(fn)];
  const [actual, expected] = [await compiled.run(args), await eager.run(args)];
  await Promise.all([compiled.dispose(), eager.dispose()]);
  for (const [group, tensors] of Object.entries(expected))
    for (const [name, { shape, dtype, data }] of Object.entries(tensors)) {
      expect(actual[group]?.[name]).toMatchObject({ shape, dtype });
      expect(actual[group]?.[name]?.data).toBeAllClose(data, tol.deep);
    }
}

const OPEN = [
  [1, 1],
  [1, 0],
  [0, 1],
  [0, 0],
] as const;

/** Functions of `in`: x [6, 4], y [6, 4], w [4, 4], of which what is gated by `gates`: a and b is a result. */
const CASES: Readonly<Record<string, (inputs: Tensors, gates: Record<string, tf.Scalar>) => Named<tf.Tensor>>> = {
  "a value that is needed otherwise, too": ({ x, w }, { a }) => {
    const y = tf.matMul(x!, w!);
    return { y, gated: gate(y, a!) };
  },
  "an argument and a constant": ({ x }, { a }) => ({ x: gate(x!, a!), one: gate(tf.ones([2, 3]), a!) }),
  "two gates of what they share": ({ x, w }, { a }) => {
    const y = tf.exp(tf.matMul(x!, w!));
    return { sum: gate(tf.sum(y, 1), a!), product: gate(tf.matMul(y, w!), a!) };
  },
  "two gates that share nothing but what others need": ({ x, y, w }, { a }) => {
    const h = tf.matMul(x!, w!);
    return { h, p: gate(tf.matMul(h, y!, true), a!), q: gate(tf.matMul(y!, h, true), a!) };
  },
  "two values that open": ({ x, y, w }, { a, b }) => {
    const [h, k] = [tf.matMul(x!, w!), tf.matMul(y!, w!)];
    const both = tf.matMul(h, k, true);
    return { p: gate(tf.matMul(h, both), a!), q: gate(tf.matMul(k, both), b!) };
  },
  "a gate within what another needs": ({ x, w }, { a, b }) => ({
    p: gate(tf.tanh(gate(tf.matMul(x!, w!), a!)), b!),
    q: gate(tf.exp(gate(tf.matMul(x!, w!, false, true), a!)), a!),
  }),
  "what a norm of gated values scales, gated again": ({ x, y, w }, { a, b }) => {
    const grads = [gate(tf.matMul(x!, y!, true), a!), gate(tf.matMul(y!, w!), b!)];
    const norm = tf.sqrt(tf.addN(grads.map((grad) => tf.sum(tf.square(grad)))));
    const scale = tf.div(1, tf.maximum(norm, 1)) as tf.Scalar;
    const [p, q] = grads.map((grad, i) => gate(tf.mul(tf.exp(grad), scale), i === 0 ? a! : b!));
    return { norm, p: p!, q: q! };
  },
  "what gates before and after a norm need": ({ x, w }, { a }) => {
    const y = tf.tanh(tf.matMul(x!, w!));
    const norm = tf.sum(gate(tf.square(y), a!));
    return { norm, scaled: gate(tf.div(y, tf.add(norm, 1)), a!) };
  },
  "parts that are put together": ({ x, y, w }, { a }) => {
    const grads = [tf.matMul(x!, y!, true), tf.zeros([2, 2]), tf.matMul(y!, w!), tf.sum(x!, 0)];
    return { vector: gate(tf.concat(grads.map((grad) => tf.reshape(grad, [grad.size]))), a!) };
  },
  "constants and other types": ({ x }, { a }) => {
    const table = tf.tensor2d(
      Array.from({ length: 24 }, (_, i) => i - 7),
      [6, 4],
    );
    const larger = tf.greater(x!, table);
    return {
      bool: gate(larger, a!),
      whole: gate(tf.cast(tf.mul(x!, 5), "int32"), a!),
      filled: gate(tf.add(tf.matMul(table, tf.fill([4, 2], 0.5)), tf.range(0, 2)), a!),
      scalar: gate(tf.sum(table), a!),
      nothing: gate(tf.slice(x!, [0, 0], [0, 4]), a!),
    };
  },
};

const functionOf =
  (name: string): TensorFunction =>
  ({ in: inputs, gates }) => ({ out: CASES[name]!(inputs as Tensors, gates as Record<string, tf.Scalar>) });

const argsOf = ([a, b]: readonly [number, number] = [1, 1]): Args => ({
  in: { x: values([6, 4], -1, 1, 1), y: values([6, 4], -1, 1, 2), w: values([4, 4], -1, 1, 3) },
  gates: { a: scalar(a), b: scalar(b) },
});

describe.each(Object.keys(CASES))("%s", (name) => {
  it.each(OPEN)("a %d, b %d", async (...open) => compareEngines(functionOf(name), argsOf(open)));
});

describe("branches", () => {
  const at = (name: string): Placed => placed(functionOf(name), argsOf());

  it("hold what gates alone need", () => {
    const { outside, branches } = at("two gates that share nothing but what others need");
    expect([products(outside), branches.map(products)]).toEqual([1, [1, 1]]);
  });

  it("are shared by gates that share what they need", () => {
    const { outside, branches } = at("two gates of what they share");
    expect([products(outside), branches.map(products)]).toEqual([0, [2]]);
  });

  it("do not hold what gates of two values need", () => {
    const { outside, branches } = at("two values that open");
    expect([products(outside), branches.map(products)]).toEqual([3, [1, 1]]);
  });

  it("come one after another where one needs another's result, and each node is in one", () => {
    const { outside, branches } = at("what gates before and after a norm need");
    expect(products(outside)).toBe(0);
    expect(branches.map((nodes) => types(nodes).filter((type) => /MatMul|Tanh|Div/u.test(type)))).toEqual([
      ["MatMul", "Tanh"],
      ["Div"],
    ]);
  });

  it("are one for each part of what is put together", () => {
    const { outside, branches } = at("parts that are put together");
    expect([products(outside), branches.map(products).sort()]).toEqual([0, [0, 1, 1]]);
    expect(types(outside)).toContain("Concat");
  });

  it("make their zeros when they are needed", () => {
    const { nodes, constants } = lowerFunction({
      fn: ({ in: { x } = {}, gates: { a } = {} }) => ({
        out: { y: gate(tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D, true), a as tf.Scalar) },
      }),
      args: argsOf(),
      overwrites: [],
      largest: null,
    }).emit;
    const otherwise = nodes.find(({ type }) => type === "If")?.attributes["else_branch"] as OnnxGraph;
    expect(types(otherwise.nodes)).toEqual(["Expand"]);
    expect(constants.every(({ data }) => data.length <= 2)).toBe(true);
  });
});

describe("results over arguments", () => {
  const STEPS = 3;
  /** A weight that is read late, its gated gradient, a momentum that is a gated result itself, and an argument handed on. */
  const step: TensorFunction = ({ state: { w, m, n } = {}, data: { x, open } = {} }) => {
    const [weight, gate1] = [w as tf.Tensor2D, open as tf.Scalar];
    const h = tf.tanh(tf.matMul(x as tf.Tensor2D, weight));
    const gradient = gate(tf.matMul(x as tf.Tensor2D, h, true), gate1);
    const norm = tf.sum(tf.square(gradient));
    const next = gate(tf.add(tf.mul(m as tf.Tensor, 0.9), gradient), gate1);
    const update = gate(tf.div(tf.matMul(next as tf.Tensor2D, weight), tf.add(norm, 1)), gate1);
    return { state: { w: tf.sub(weight, update), m: next, n: gate(n as tf.Tensor, gate1) }, metrics: { norm } };
  };

  it.each([0, 1])("open %d: as with memory of their own, bit by bit", async (open) => {
    const data = { x: values([6, 4], -1, 1, 4), open: scalar(open) };
    const start = (): Record<string, HostTensor> => ({
      w: values([4, 4], -1, 1, 1),
      m: values([4, 4], -1, 1, 2),
      n: values([3], -1, 1, 3),
    });
    const inPlace = start();
    let elsewhere: Named<HostTensor> = start();
    const [a, b] = [onnx.compile(step), onnx.compile(step)];
    for (let i = 0; i < STEPS; i++) {
      await a.run({ state: inPlace, data }, { state: inPlace });
      elsewhere = (await b.run({ state: elsewhere, data }))["state"] as Named<HostTensor>;
    }
    await Promise.all([a.dispose(), b.dispose()]);
    expect(inPlace).toEqual(elsewhere);
    await compareEngines(step, { state: start(), data });
  });
});

/** Attention without heads, and a feed-forward layer, all of whose weights have narrow factors that learn. */
const SITES = { q: [16, 16], k: [16, 16], v: [16, 16], o: [16, 16], up: [16, 64], down: [64, 16] } as const;
const [BLOCKS, RANK, ROWS] = [2, 2, 48];

function encoder(x: tf.Tensor2D, frozen: Tensors, learns: Tensors): tf.Scalar {
  const at = (input: tf.Tensor2D, site: string): tf.Tensor2D =>
    tf.add(
      tf.matMul(input, frozen[site]!),
      tf.matMul(tf.matMul(input, learns[`${site}.down`]!, false, true), learns[`${site}.up`]!, false, true),
    );
  const norm = (input: tf.Tensor): tf.Tensor2D => tf.sub(input, tf.mean(input, 1, true)) as tf.Tensor2D;
  for (let i = 0; i < BLOCKS; i++) {
    const [q, k, v] = ["q", "k", "v"].map((site) => at(x, `${i}.${site}`)) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    x = norm(tf.add(x, at(tf.matMul(tf.softmax(tf.matMul(q, k, false, true)), v), `${i}.o`)));
    x = norm(tf.add(x, at(tf.tanh(at(x, `${i}.up`)), `${i}.down`)));
  }
  return tf.sum(tf.square(x));
}

/** The loss and the gradients by block, in one vector each, gated. */
function gradientsOf(isGated: boolean): TensorFunction {
  return ({ data = {}, frozen = {}, learns = {}, open = {} }) => {
    const names = Object.keys(learns);
    const { value, grads } = tf.valueAndGrads((...tensors: tf.Tensor[]) =>
      encoder(
        data["x"] as tf.Tensor2D,
        frozen as Tensors,
        Object.fromEntries(names.map((name, i) => [name, tensors[i] as tf.Tensor2D])),
      ),
    )(Object.values(learns));
    const out: Record<string, tf.Tensor> = { loss: value };
    for (let i = 0; i < BLOCKS; i++) {
      const own = names.flatMap((name, n) =>
        name.startsWith(`${i}.`) ? [tf.reshape(grads[n]!, [grads[n]!.size])] : [],
      );
      out[`block${i}`] = isGated ? gate(tf.concat(own), open[String(i)] as tf.Scalar) : tf.concat(own);
    }
    return { out };
  };
}

function encoderArgs(...open: readonly number[]): Args {
  const [frozen, learns]: [Record<string, HostTensor>, Record<string, HostTensor>] = [{}, {}];
  for (let i = 0; i < BLOCKS; i++)
    Object.entries(SITES).forEach(([site, [from, to]], n) => {
      frozen[`${i}.${site}`] = values([from, to], -0.3, 0.3, 10 * i + n + 1);
      learns[`${i}.${site}.down`] = values([RANK, from], -0.3, 0.3, 10 * i + n + 31);
      learns[`${i}.${site}.up`] = values([to, RANK], -0.3, 0.3, 10 * i + n + 61);
    });
  const gates = Object.fromEntries(open.map((value, i) => [String(i), scalar(value)]));
  return { data: { x: values([ROWS, 16], -1, 1, 99) }, frozen, learns, open: gates };
}

describe("an encoder whose blocks' gradients are gated", () => {
  it.each(OPEN)("block 0 %d, block 1 %d", async (...open) => compareEngines(gradientsOf(true), encoderArgs(...open)));

  const [gated, plain] = [true, false].map((isGated) => placed(gradientsOf(isGated), encoderArgs(1, 1))) as [
    Placed,
    Placed,
  ];

  it("has the products of the gradients in branches, and as many as without gates", () => {
    expect([plain.branches, products(plain.outside)]).toEqual([[], 92]);
    // Twenty in each block's forward pass, and twelve on the way back through block 1.
    expect(products(gated.outside)).toBe(52);
    // By every factor of block 1, those of query, key and value together where they read the same; and all of block 0's way back.
    expect(gated.branches.map(products).sort((a, b) => a - b)).toEqual([...Array<number>(10).fill(1), 30]);
  });

  const fresh = scratchFolders();

  /** The products that the runtime has run, as its profile reports them. */
  async function ran(...open: readonly number[]): Promise<number> {
    const folder = fresh();
    const engine = await createEngine({ kind: "onnx", threads: 1, profilePrefix: join(folder, "profile") });
    const program = engine.compile(gradientsOf(true));
    await program.run(encoderArgs(...open));
    await program.dispose();
    const [file = ""] = readdirSync(folder);
    const events = JSON.parse(readFileSync(join(folder, file), "utf8")) as {
      readonly args?: { readonly op_name?: string };
    }[];
    return events.filter(({ args }) => /MatMul|Gemm/u.test(args?.op_name ?? "")).length;
  }

  it.each([
    [[1, 1], 92],
    [[1, 0], 92 - 10],
    [[0, 1], 92 - 30],
    [[0, 0], 52],
  ] as const)("runs none of those of a block that is closed: %j", async (open, count) => {
    expect(await ran(...open)).toBe(count);
  });
});
