import { readFileSync } from "node:fs";
import { createGenerator, float32, matmul, matrix } from "@peftjs/core";
import type { CombineOptions, FileForm, HostSite, HostTensor, LayerSite, Named } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { factorNames, LoraConfig, loraScale, loraSiteConfig } from "../lora/config.ts";
import { clamped } from "./factors.ts";
import { combineLora } from "./loraCombine.ts";

interface Layer {
  readonly rank: number;
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly update: readonly number[];
}

interface Fixture {
  readonly adapters: Readonly<
    Record<string, { readonly alpha: number; readonly layers: Readonly<Record<string, Layer>> }>
  >;
  readonly cases: readonly {
    readonly options: Readonly<Record<string, string | number>>;
    readonly adapters: readonly string[];
    readonly weights: readonly number[];
    readonly layers: Readonly<Record<string, Layer>>;
  }[];
  readonly quantile: { readonly values: readonly number[]; readonly q: number; readonly value: number };
}

/** Written by fixtures/lora/combine.py with the Python library. */
const fixture = JSON.parse(
  readFileSync(new URL("../../../../fixtures/lora/combine.json", import.meta.url), "utf8"),
) as Fixture;

const sites: readonly LayerSite[] = [
  linearSite({ path: "first", inFeatures: 7, outFeatures: 5 }),
  linearSite({ path: "second", inFeatures: 5, outFeatures: 6 }),
  linearSite({ path: "words", inFeatures: 9, outFeatures: 7, kind: "embedding", layout: "in_out" }),
];

interface Given {
  readonly config: LoraConfig;
  readonly weight: number;
  /** By path. */
  readonly params: ReadonlyMap<string, Named<HostTensor>>;
}

function combine(
  adapters: readonly Given[],
  options: CombineOptions,
  over: readonly LayerSite[] = sites,
): FileForm<LoraConfig> {
  const part = ({ config, params }: Given, each: LayerSite): HostSite<LoraConfig> | null => {
    const own = params.get(each.path);
    if (own === undefined) return null;
    return { site: each, config: loraSiteConfig({ site: each, config }), params: own, state: {} };
  };
  return combineLora({
    adapters: adapters.map(({ config, weight }) => ({ config, weight })),
    sites: over.map((each) => ({ site: each, parts: adapters.map((adapter) => part(adapter, each)) })),
    options,
  });
}

/** s·B·A of a layer. */
function updateOf({ config, params }: FileForm<LoraConfig>, each: LayerSite): Float64Array {
  const own = params.get(each.path)!;
  const { a, b } = factorNames(each);
  const of = (name: string) => matrix(own[name]!.data as Float32Array, own[name]!.shape as [number, number]);
  const scale = loraScale(loraSiteConfig({ site: each, config }));
  return Float64Array.from(matmul(of(b), of(a)).data, (value) => value * scale);
}

function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  const largest = Math.max(...Array.from(expected, Math.abs));
  return Math.max(...Array.from(expected, (value, i) => Math.abs(actual[i]! - value))) / largest;
}

function given(name: string, weight: number): Given {
  const { alpha, layers } = fixture.adapters[name]!;
  const rank = layers["first"]!.rank;
  const params = sites.flatMap((each) => {
    const layer = layers[each.path];
    if (layer === undefined) return [];
    const names = factorNames(each);
    const a = float32(layer.a, [rank, each.inFeatures]);
    return [[each.path, { [names.a]: a, [names.b]: float32(layer.b, [each.outFeatures, rank]) }] as const];
  });
  return {
    config: LoraConfig.parse({ rank, alpha, targetModules: Object.keys(layers) }),
    weight,
    params: new Map(params),
  };
}

const camel: Readonly<Record<string, string>> = {
  combination_type: "type",
  majority_sign_method: "majoritySignMethod",
  svd_rank: "svdRank",
};

describe("the Python library's combinations", () => {
  it.each(fixture.cases.map((each) => [JSON.stringify(each.options), each] as const))("%s", (_, expected) => {
    const options = Object.fromEntries(
      Object.entries(expected.options).map(([key, value]) => [camel[key] ?? key, value]),
    );
    const form = combine(
      expected.adapters.map((name, i) => given(name, expected.weights[i]!)),
      options as CombineOptions,
    );
    const type = String(options["type"]);
    for (const each of sites) {
      // Python draws the mask of an embedding's update in the table's layout, which is the other way round.
      if (each.kind === "embedding" && /^dare_.*_svd$/.test(type)) continue;
      const layer = expected.layers[each.path];
      if (layer === undefined) {
        expect(form.params.get(each.path)).toBeUndefined();
        continue;
      }
      expect(difference(updateOf(form, each), layer.update), each.path).toBeLessThan(1e-5);
      const names = factorNames(each);
      const { [names.a]: a, [names.b]: b } = form.params.get(each.path)!;
      expect(a!.shape).toEqual([layer.rank, each.inFeatures]);
      // Singular vectors have a free sign; everything else is the same number by number.
      if (type.endsWith("svd")) continue;
      expect(difference(a!.data, layer.a), each.path).toBeLessThan(1e-6);
      expect(difference(b!.data, layer.b), each.path).toBeLessThan(1e-6);
    }
  });

  it("clamps at torch's quantile", () => {
    const { values, q, value } = fixture.quantile;
    const { a, b } = clamped(
      {
        a: matrix(Float64Array.from(values.slice(0, 4)), [2, 2]),
        b: matrix(Float64Array.from(values.slice(4)), [7, 1]),
      },
      q,
    );
    const limited = [...a.data, ...b.data];
    expect(Math.max(...limited)).toBeCloseTo(value, 6);
    expect(Math.min(...limited)).toBeCloseTo(Math.max(-value, Math.min(...values)), 6);
    values.forEach((before, i) => {
      if (Math.abs(before) < value) expect(limited[i]).toBe(before);
    });
  });
});

/** A site [2, 2] with one adapter of s = 2. */
const square = linearSite({ path: "square", inFeatures: 2, outFeatures: 2 });
const worked = (
  a: readonly number[],
  b: readonly number[],
  weight: number,
  settings: Partial<LoraConfig> = {},
): Given => ({
  config: LoraConfig.parse({ rank: 1, alpha: 2, ...settings }),
  weight,
  params: new Map([["square", { a: float32(a, [1, 2]), b: float32(b, [2, 1]) }]]),
});

describe("the worked combination", () => {
  const exact = { 0.25: [1, -0.5, 2, 0.5], "-0.25": [1, 0.5, 2, -0.5] };
  const linear = {
    0.25: [0.29289322, 0.20710678, 2.70710678, 1.91421356],
    "-0.25": [0.29289322, -0.20710678, 2.70710678, -1.91421356],
  };
  it.each([
    ["cat", 0.25, exact[0.25]],
    ["svd", 0.25, exact[0.25]],
    ["linear", 0.25, linear[0.25]],
    ["cat", -0.25, exact["-0.25"]],
    ["svd", -0.25, exact["-0.25"]],
    ["linear", -0.25, linear["-0.25"]],
  ])("%s with weights 0.5 and %d", (type, second, expected) => {
    const adapters = [worked([1, 0], [1, 2], 0.5), worked([0, 1], [-1, 1], second)];
    const form = combine(adapters, { type, svdRank: 2 }, [square]);
    expect(difference(updateOf(form, square), expected)).toBeLessThan(1e-6);
  });

  it('is "cat" unless something else is asked for', () => {
    const adapters = [worked([1, 0], [1, 2], 0.5), worked([0, 1], [-1, 1], 0.25)];
    const form = combine(adapters, {} as CombineOptions, [square]);
    expect(form.config.rank).toBe(2);
    expect(difference(updateOf(form, square), exact[0.25])).toBeLessThan(1e-6);
  });
});

describe("what the Python library gets wrong or leaves out", () => {
  it.each(["cat", "svd", "linear"])("%s has scale 1 for rsLoRA, too", (type) => {
    const settings = { useRslora: true, alpha: 2 };
    const form = combine([worked([1, 0], [1, 2], 1, settings), worked([0, 1], [-1, 1], 0, settings)], { type }, [
      square,
    ]);
    expect(loraScale(form.config)).toBe(1);
    expect(difference(updateOf(form, square), [2, 0, 4, 0])).toBeLessThan(1e-6);
  });

  it("combines layers of several ranks: each is padded to the largest", () => {
    const generator = createGenerator(3);
    const adapter = (rank: number, weight: number): Given => ({
      config: LoraConfig.parse({ rank, alpha: 4, rankPattern: { first: 1 }, alphaPattern: { second: 3 } }),
      weight,
      params: new Map(
        sites.slice(0, 2).map((each) => {
          const own = each.path === "first" ? 1 : rank;
          const a = float32(generator.normal(own * each.inFeatures), [own, each.inFeatures]);
          return [each.path, { a, b: float32(generator.normal(own * each.outFeatures), [each.outFeatures, own]) }];
        }),
      ),
    });
    const adapters = [adapter(2, 0.5), adapter(3, -2)];
    const form = combine(adapters, { type: "cat" }, sites.slice(0, 2));
    expect(form.config).toMatchObject({ rank: 5, alpha: 5, rankPattern: {}, alphaPattern: {} });
    for (const each of sites.slice(0, 2)) {
      const updates = adapters.map((one) => updateOf({ config: one.config, params: one.params }, each));
      const expected = updates[0]!.map((value, i) => 0.5 * value - 2 * updates[1]![i]!);
      expect(difference(updateOf(form, each), expected)).toBeLessThan(1e-6);
      expect(form.params.get(each.path)!["a"]!.shape[0]).toBe(5);
    }
    expect(() => combine(adapters, { type: "linear" }, sites.slice(0, 2))).toThrow(
      expect.objectContaining({ code: "COMBINE_UNSUPPORTED" }),
    );
  });

  it("combines the biases of B as updates", () => {
    const biased = (bias: readonly number[], weight: number): Given => {
      const plain = worked([1, 0], [1, 2], weight, { loraBias: true });
      return { ...plain, params: new Map([["square", { ...plain.params.get("square")!, biasB: float32(bias, [2]) }]]) };
    };
    const form = combine([biased([1, 2], 0.5), biased([3, -1], -1), worked([0, 1], [1, 1], 2)], { type: "cat" }, [
      square,
    ]);
    expect(form.config.loraBias).toBe(true);
    expect([...form.params.get("square")!["biasB"]!.data]).toEqual([0.5 * 2 * 1 - 2 * 3, 0.5 * 2 * 2 + 2]);
  });
});

describe("settings", () => {
  const two = [worked([1, 0], [1, 2], 1), worked([0, 1], [1, 2], 1)];
  it.each([
    [{ type: "tie" }, 'Did you mean "ties"'],
    [{ type: "ties" }, "needs a density"],
    [{ type: "dare_linear", density: 0 }, "density"],
    [{ type: "svd", svdRank: 0 }, "svdRank"],
    [{ type: "cat", denstiy: 1 }, "denstiy"],
  ])("%j is refused", (options, message) => {
    expect(() => combine(two, options, [square])).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(message) as unknown }),
    );
  });

  it("other tensors than A and B cannot be combined", () => {
    const extra = {
      ...two[0]!,
      params: new Map([["square", { ...two[0]!.params.get("square")!, magnitude: float32([1, 1], [2]) }]]),
    };
    expect(() => combine([extra, two[1]!], { type: "cat" }, [square])).toThrow(
      expect.objectContaining({ code: "COMBINE_UNSUPPORTED" }),
    );
  });
});
