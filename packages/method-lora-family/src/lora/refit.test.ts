import { createGenerator, float32, matmul, matrix } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { LoraConfig, loraScale } from "./config.ts";
import { refitLora } from "./refit.ts";

const site = linearSite({ inFeatures: 5, outFeatures: 3 });
const shapesOf = (rank: number) => ({ a: [rank, 5], b: [3, rank] });
const generator = createGenerator(2);
const normal = (shape: readonly [number, number]): HostTensor => float32(generator.normal(shape[0] * shape[1]), shape);
const drawn = (rank: number): Named<HostTensor> => ({ a: normal([rank, 5]), b: normal([3, rank]) });

function update(params: Named<HostTensor>, config: LoraConfig): Float64Array {
  const of = ({ data, shape }: HostTensor) => matrix(data as Float32Array, shape as [number, number]);
  return Float64Array.from(matmul(of(params["b"]!), of(params["a"]!)).data, (value) => value * loraScale(config));
}

describe("refitLora", () => {
  it.each([
    [
      { rank: 2, alpha: 6 },
      { rank: 4, alpha: 2 },
    ],
    [
      { rank: 2, alpha: 6, useRslora: true },
      { rank: 2, alpha: 2 },
    ],
    [
      { rank: 1, alpha: 6 },
      { rank: 3, alpha: 2, useRslora: true },
    ],
  ])("%j under %j changes the layer as before", (given, wanted) => {
    const [from, to] = [LoraConfig.parse(given), LoraConfig.parse(wanted)];
    const params = drawn(from.rank);
    const result = refitLora({ site, params, from, to, shapes: shapesOf(to.rank) });
    expect(result["a"]!.shape).toEqual([to.rank, 5]);
    expect(result["b"]!.shape).toEqual([3, to.rank]);
    const before = update(params, from);
    update(result, to).forEach((value, i) => expect(value).toBeCloseTo(before[i]!, 5));
    expect(before.some((value) => Math.abs(value) > 0.1)).toBe(true);
  });

  it("keeps the scaled bias, and gives zeros where there was none", () => {
    const [from, to] = [
      LoraConfig.parse({ rank: 2, alpha: 6, loraBias: true }),
      LoraConfig.parse({ rank: 2, alpha: 2, loraBias: true }),
    ];
    const shapes = { ...shapesOf(2), biasB: [3] };
    const params = { ...drawn(2), biasB: float32([1, 2, 3], [3]) };
    expect([...refitLora({ site, params, from, to, shapes })["biasB"]!.data]).toEqual([3, 6, 9]);
    const { biasB, ...unbiased } = params;
    expect(biasB.shape).toEqual([3]);
    expect([...refitLora({ site, params: unbiased, from, to, shapes })["biasB"]!.data]).toEqual([0, 0, 0]);
  });

  it("leaves a layer alone that the other adapter does not have", () => {
    const config = LoraConfig.parse({ rank: 2 });
    const result = refitLora({ site, params: null, from: config, to: config, shapes: shapesOf(2) });
    expect(result["b"]!.data.every((value) => value === 0)).toBe(true);
    expect(result["a"]!.shape).toEqual([2, 5]);
  });

  it("refits embeddings, and passes other tensors on", () => {
    const [from, to] = [LoraConfig.parse({ rank: 1, alpha: 4 }), LoraConfig.parse({ rank: 2, alpha: 4 })];
    const params = {
      embeddingA: float32([1, 2, 3], [1, 3]),
      embeddingB: float32([1, 2], [2, 1]),
      magnitude: float32([5, 6], [2]),
    };
    const shapes = { embeddingA: [2, 3], embeddingB: [2, 2], magnitude: [2] };
    const result = refitLora({ site, params, from, to, shapes });
    expect([...result["embeddingA"]!.data]).toEqual([1, 2, 3, 0, 0, 0]);
    expect([...result["embeddingB"]!.data]).toEqual([2, 0, 4, 0]);
    expect(result["magnitude"]).toBe(params.magnitude);
    expect(() => refitLora({ site, params: null, from, to, shapes })).toThrow(/"magnitude"/);
  });

  it("refuses an adapter that goes with a changed base weight", () => {
    const [from, to] = [LoraConfig.parse({}), LoraConfig.parse({ initLoraWeights: "pissa" })];
    expect(() => refitLora({ site, params: drawn(8), from, to, shapes: shapesOf(8) })).toThrow(/"pissa", changed/);
  });

  it("refuses what has no room", () => {
    const [from, to] = [LoraConfig.parse({ rank: 4 }), LoraConfig.parse({ rank: 2 })];
    const refused = (params: Named<HostTensor>) => () => refitLora({ site, params, from, to, shapes: shapesOf(2) });
    expect(refused(drawn(4))).toThrow(expect.objectContaining({ code: "HOT_SWAP_UNSUPPORTED" }));
    expect(refused(drawn(4))).toThrow(/rank 4 at "layer".*room for 2.*rank of at least 4/s);
    expect(refused({ ...drawn(2), biasB: float32([1, 2, 3], [3]) })).toThrow(/"biasB"/);
  });
});
