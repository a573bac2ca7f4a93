import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { defineMethod, float32, isInt8 } from "@peftjs/core";
import type { Capabilities, HostTensor, InitContext, Method, StoredTensor } from "@peftjs/core";
import { scratchFolders } from "@peftjs/testkit";
import { lowRank } from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { quantizedChecks, refusedChecks } from "../src/conformance/quantized/checks.ts";
import { compiledEngine, eagerEngine } from "../src/engines.ts";

const folder = scratchFolders();
let engines: { readonly compiled: Engine; readonly eager: Engine };
beforeAll(async () => {
  engines = { compiled: await createEngine(compiledEngine), eager: await createEngine(eagerEngine) };
});

type Parts = Partial<Method<LowRankConfig>> & { readonly quantizedBase?: Capabilities["quantizedBase"] };
type LowRankConfig = typeof lowRank extends Method<infer Config> ? Config : never;

/** The stand-in with something of it changed. */
function toy({ quantizedBase = "output", ...parts }: Parts = {}): Method {
  const capabilities = { ...lowRank.capabilities, quantizedBase };
  return defineMethod({ ...lowRank, capabilities, ...parts }) as unknown as Method;
}

/** Runs one check, found by a part of its name. */
async function check(part: RegExp, method: Method): Promise<void> {
  const found = [...quantizedChecks, ...refusedChecks].filter(({ name }) => part.test(name));
  expect(found).toHaveLength(1);
  await found[0]?.check({ ...engines, suite: {}, subject: { method, config: {} }, family: "bert", folder });
}

const CLAIM = /reads, replaces and trains/u;
const START = /dequantized values/u;
const COMPILED = /integer products/u;
const FILE = /saved and loaded/u;

const init = lowRank.init as NonNullable<typeof lowRank.init>;
const forward = lowRank.forward as NonNullable<typeof lowRank.forward>;
const delta = lowRank.delta as NonNullable<typeof lowRank.delta>;

const halved = (weight: HostTensor): HostTensor =>
  float32(
    (weight.data as Float32Array).map((value) => value / 2),
    weight.shape,
  );
const moved = (context: InitContext<LowRankConfig>, by: number): ReturnType<typeof init> => {
  const { params } = init(context);
  const b = params["b"] as HostTensor;
  return {
    params: {
      ...params,
      b: float32(
        (b.data as Float32Array).map((value) => value + by),
        b.shape,
      ),
    },
  };
};

describe("a method keeps what it promises of weights in eight bits:", () => {
  it.each([CLAIM, START, COMPILED, FILE])("%s", async (part) => {
    await check(part, toy());
  });

  it("one that refuses them is refused", async () => {
    await check(/^is refused$/u, toy({ quantizedBase: false }));
  });

  it("one that says so may read them, and replace them", async () => {
    const splitting = toy({
      quantizedBase: "values",
      init: (context) => ({ ...init(context), weight: halved(context.weight) }),
    });
    for (const part of [CLAIM, START, COMPILED, FILE]) await check(part, splitting);
  });
});

describe("a method that breaks a promise is found out:", () => {
  const reading: readonly [string, Parts][] = [
    ["init", { init: (context) => (context.weight, init(context)) }],
    ["init", { init: (context) => init({ ...context }) }],
    ["forward", { forward: (context) => (context.weight, forward(context)) }],
    ["delta", { delta: (context) => (context.weight, delta(context)) }],
    ["restore", { restore: (context) => (context.weight, {}) }],
    [
      "calibrate",
      {
        calibrate: ({ model, sites }) => {
          sites.forEach(({ weight }) => (model.parameters.get(weight) as StoredTensor).data);
          return Promise.resolve({});
        },
      },
    ],
  ];

  it.each(reading)("it reads the weight in %s", async (name, parts) => {
    await expect(check(CLAIM, toy(parts))).rejects.toThrow(`[ '${name}' ]`);
    await check(CLAIM, toy({ ...parts, quantizedBase: "values" }));
  });

  it("it replaces the weight, or trains it", async () => {
    const replacing = toy({ init: (context) => ({ ...init(context), weight: float32(new Float32Array(64), [8, 8]) }) });
    await expect(check(CLAIM, replacing)).rejects.toThrow(/weights of its own/u);
    const training = toy({ trains: ({ name }) => name.endsWith("key.weight") });
    await expect(check(CLAIM, training)).rejects.toThrow(/weights of its own/u);
  });

  it("it starts otherwise than on the values, or learns otherwise", async () => {
    let int8 = false;
    const looking: Parts = {
      calibrate: ({ model }) => {
        int8 = [...model.parameters.values()].some(isInt8);
        return Promise.resolve({});
      },
    };
    await expect(
      check(START, toy({ ...looking, init: (context) => moved(context, int8 ? 0.1 : 0) })),
    ).rejects.toThrow();
    // Twice the change is the same while there is none.
    const learning: Parts = {
      ...looking,
      wire: { ...lowRank.wire, tensors: { ...lowRank.wire.tensors, times: null } },
      init: (context) => ({ ...init(context), buffers: { times: float32([int8 ? 2 : 1], [1]) } }),
      forward: (context) => {
        const below = context.base(context.x);
        const change = tf.sub(forward({ ...context, base: () => below }), below);
        return tf.add(below, tf.mul(change, context.params["times"] as tf.Tensor));
      },
    };
    await expect(check(START, toy(learning))).rejects.toThrow(/deeply equal/u);
    // What it takes away it would have to add again where it differs by more than rounding.
    const replacing: Parts = {
      ...looking,
      quantizedBase: "values",
      init: (context) => ({ ...init(context), ...(int8 ? { weight: halved(context.weight) } : {}) }),
    };
    await expect(check(START, toy(replacing))).rejects.toThrow(/to be less than/u);
  });

  it("it writes into the base", async () => {
    const writing: Parts = {
      calibrate: ({ model, sites }) => {
        for (const { weight } of sites) (model.parameters.get(weight) as StoredTensor).data[0] = 1;
        return Promise.resolve({});
      },
    };
    await expect(check(START, toy(writing))).rejects.toThrow(/deeply equal/u);
  });

  it("its loss is not finite", async () => {
    const broken = toy({ forward: (context): tf.Tensor2D => tf.log(tf.sub<tf.Tensor2D>(forward(context), 1e3)) });
    await expect(check(START, broken)).rejects.toThrow(/NaN/u);
    await expect(check(COMPILED, broken)).rejects.toThrow();
  });

  it("it makes more of the rounding of integer products than it is", async () => {
    const enlarging = toy({
      forward: ({ base, ...context }) =>
        forward({ ...context, base: (x) => tf.sin(tf.mul<tf.Tensor2D>(base(x), 500)) }),
    });
    await expect(check(COMPILED, enlarging)).rejects.toThrow(/to be less than/u);
  });

  it("its file says something else, or only goes with the base that it comes from", async () => {
    const file: Parts["file"] = ({ config, sites }) => ({
      config,
      params: new Map(
        sites.map(({ site, params }) => [site.path, { ...params, a: halved(params["a"] as HostTensor) }]),
      ),
    });
    await expect(check(FILE, toy({ file }))).rejects.toThrow(/^value/u);
    const seen = new Map<string, number>();
    const bound: Parts = {
      quantizedBase: "values",
      init: (context) => {
        if (context.fromFile !== true) seen.set(context.site.path, context.weight.data[0] as number);
        return init(context);
      },
      restore: ({ site, weight, params }): Record<string, HostTensor> =>
        seen.get(site.path) === weight.data[0]
          ? {}
          : { a: float32(new Float32Array(16).fill(5), (params["a"] as HostTensor).shape) },
    };
    await expect(check(FILE, toy(bound))).rejects.toThrow(/to be less than/u);
  });

  it("it refuses what it is not asked to look at", async () => {
    const idle = toy({ quantizedBase: false, targets: () => null });
    await expect(check(/^is refused$/u, idle)).rejects.toThrow();
  });
});
