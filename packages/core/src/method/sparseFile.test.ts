import { linearSite } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { int32 } from "../index.ts";
import type { HostTensor, LayerSite } from "../index.ts";
import { sparseForm, sparseLayers } from "./sparseFile.ts";

const small = linearSite({ path: "small", inFeatures: 4, outFeatures: 3 });
const wide = linearSite({ path: "wide", inFeatures: 9, outFeatures: 6 });

function layer(site: LayerSite, entries: Readonly<Record<number, number>>) {
  const places = Int32Array.from(Object.keys(entries), Number);
  return { site, places, values: Float32Array.from(Object.values(entries)) };
}

const refused = (message: RegExp) =>
  expect.objectContaining({ code: "INTERCHANGE_UNSUPPORTED", message: expect.stringMatching(message) as unknown });

describe("sparseForm", () => {
  it("has r·(in + out) entries of every weight, ascending, the smallest r that holds them", () => {
    const { config, params } = sparseForm([layer(small, { 11: 2, 1: 3 }), layer(wide, { 53: 5 })]);
    expect(config.rank).toBe(1);
    const { values, indices } = params.get("small") as { values: HostTensor; indices: HostTensor };
    expect([...values.data]).toEqual([0, 3, 0, 0, 0, 0, 2]);
    expect([indices.dtype, indices.shape]).toEqual(["int32", [2, 7]]);
    expect([...indices.data]).toEqual([0, 0, 0, 0, 1, 1, 2, 0, 1, 2, 3, 0, 1, 3]);
    expect(params.get("wide")?.["values"]?.data.filter((value) => value !== 0)).toEqual(Float32Array.of(5));
    expect(
      sparseForm([layer(wide, Object.fromEntries(Array.from({ length: 16 }, (_, i) => [i, 1])))]).config.rank,
    ).toBe(2);
  });

  it("is about weights that have so many, stored [out, in]", () => {
    const eight = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [i, 1]));
    expect(() => sparseForm([layer(small, eight)])).toThrow(refused(/r = 2, 14 entries of "small", which has 12/u));
    const turned: LayerSite = { ...small, layout: "in_out" };
    expect(() => sparseForm([layer(turned, { 0: 1 })])).toThrow(refused(/"small" is stored \[in, out\]/u));
  });
});

describe("sparseLayers", () => {
  const read = (rows: readonly number[], columns: readonly number[]) => {
    const { config, params } = sparseForm([layer(small, { 3: 7, 5: 8 })]);
    const { values, indices } = params.get("small") as { values: HostTensor; indices: HostTensor };
    const data = indices.data.slice() as Int32Array;
    data.set(rows);
    data.set(columns, 7);
    const site = { site: small, config, params: { values, indices: int32(data, [2, 7]) }, state: {} };
    return sparseLayers({ config, sites: [site] })[0];
  };

  it("finds the entries again, in any order", () => {
    expect(read([], [])?.values).toEqual(Float32Array.of(0, 0, 0, 7, 0, 8, 0));
    const { places, values } = read([2, 2], [3, 2]) as { places: Int32Array; values: Float32Array };
    expect([...places]).toEqual([2, 3, 4, 5, 6, 10, 11]);
    expect([...values]).toEqual([0, 7, 0, 8, 0, 0, 0]);
  });

  it("refuses entries that the weight lacks, and the same twice", () => {
    expect(() => read([3], [])).toThrow(refused(/outside its weight \[3, 4\]/u));
    expect(() => read([], [-1])).toThrow(refused(/outside its weight/u));
    expect(() => read([0], [1])).toThrow(refused(/an entry of "small" twice/u));
  });
});
