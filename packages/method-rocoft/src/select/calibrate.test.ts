import { int32, peft } from "@peftjs/core";
import type { BaseModel, CalibrateContext, HostTensor, Method, Named, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromConfig } from "@peftjs/models";
import { compiledEngine, installMatchers } from "@peftjs/testkit";
import { beforeAll, describe, expect, it } from "vitest";
import type { RocoftConfig } from "../config.ts";
import { rocoft } from "../method.ts";
import { normsOnBatches } from "./calibrate.ts";
import { chooseByScore, scoresOf, type ScoreKind } from "./scores.ts";

installMatchers();

const config = {
  ...{ model_type: "bert", vocab_size: 30, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2 },
  ...{ intermediate_size: 12, max_position_embeddings: 24, initializer_range: 0.4, pad_token_id: 0 },
};
const LENGTHS = [7, 3, 5, 9, 4, 8, 2, 6, 7, 5];
const TEXTS = LENGTHS.map((length, i) => Array.from({ length }, (_, j) => 3 + ((i * 11 + j * 7) % 27)));
const close = { absolute: 1e-6, relative: 1e-5 };

/** Texts padded to `tokens`. */
function batchOf(texts: readonly (readonly number[])[], tokens: number): Named<HostTensor> {
  const padded = (fill: (text: readonly number[], j: number) => number): HostTensor =>
    int32(
      texts.flatMap((text) => Array.from({ length: tokens }, (_, j) => fill(text, j))),
      [texts.length, tokens],
    );
  return {
    input_ids: padded((text, j) => text[j] ?? 0),
    attention_mask: padded((text, j) => Number(j < text.length)),
  };
}

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine(compiledEngine);
});

const model = (): BaseModel => fromConfig(config, { numLabels: 2, seed: 1 });

/** Lets the method run, and looks at its context. */
async function looking(
  batches: readonly Named<HostTensor>[],
  look: (context: CalibrateContext<RocoftConfig>) => Promise<void>,
): Promise<void> {
  const method: Method<RocoftConfig> = {
    ...rocoft,
    calibrate: async (context) => {
      await look(context);
      return {};
    },
  };
  await peft(model()).use(method, {}).apply({ batches, runner: engine });
}

async function normsOf(kind: ScoreKind, batches: readonly Named<HostTensor>[]): Promise<Map<string, Float64Array>> {
  let norms: ReadonlyMap<string, Float64Array> = new Map();
  await looking(batches, async (context) => {
    norms = await normsOnBatches(context, { kind, selection: "max" });
  });
  return new Map(norms);
}

function expectEqual(actual: Map<string, Float64Array>, expected: Map<string, Float64Array>): void {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [path, norms] of expected) expect(actual.get(path), path).toBeAllClose(norms, close);
}

describe.each(["column", "rowSource"] as const)("norms for %s", (kind) => {
  it("do not change when texts are padded further", async () => {
    expectEqual(await normsOf(kind, [batchOf(TEXTS, 16)]), await normsOf(kind, [batchOf(TEXTS, 9)]));
  });

  it("are the same in one batch and in ten", async () => {
    const ten = TEXTS.map((text) => batchOf([text], 9));
    expectEqual(await normsOf(kind, ten), await normsOf(kind, [batchOf(TEXTS, 9)]));
  });

  it("leave out texts that weigh nothing, and count all tokens where nothing is masked", async () => {
    const whole = TEXTS.map((text) => Array.from({ length: 9 }, (_, j) => text[j] ?? 5));
    const { input_ids } = batchOf(whole, 9) as { input_ids: HostTensor };
    const row_weights = {
      dtype: "float32",
      shape: [10],
      data: Float32Array.from(TEXTS, (_, i) => Number(i < 4)),
    } as const;
    const part = batchOf(whole.slice(0, 4), 9);
    expectEqual(await normsOf(kind, [{ input_ids, row_weights }]), await normsOf(kind, [part]));
  });
});

describe("norms", () => {
  it("are those of what goes into a layer and of what comes out", async () => {
    const batch = batchOf(TEXTS.slice(0, 1), 7);
    const path = "bert.encoder.layer.1.output.dense";
    await looking([batch], async (context) => {
      const [inputs, outputs] = [await context.layerInputs(batch), await context.layerOutputs(batch)];
      for (const [kind, layers] of [
        ["entries", inputs],
        ["rowSource", outputs],
      ] as const) {
        const { data, shape } = layers.get(path)!;
        const features = shape[1]!;
        const expected = Array.from({ length: features }, (_, j) =>
          Math.hypot(...data.filter((_value: number, i: number) => i % features === j)),
        );
        const norms = await normsOnBatches(context, { kind, selection: "max" });
        expect(norms.get(path)).toBeAllClose(expected, close);
      }
    });
  });
});

describe("RoCoFT by score", () => {
  const path = "bert.encoder.layer.0.intermediate.dense";
  const batches = [batchOf(TEXTS.slice(0, 6), 9), batchOf(TEXTS.slice(6), 8)];
  const attach = (settings: Partial<RocoftConfig>, data: typeof batches | undefined = batches): Promise<PeftModel> =>
    peft(model()).use(rocoft, settings).apply({ batches: data, runner: engine });
  const indicesOf = (adapted: PeftModel): number[] => [
    ...(adapted.adapters.get("default")!.buffers.get(`${path}.indices`)!.data as Int32Array),
  ];

  it.each([
    ["column", "source", "column"],
    ["row", "source", "rowSource"],
    ["row", "wanda", "rowWanda"],
  ] as const)("chooses %ss, rowScore %s", async (mode, rowScore, kind) => {
    const site = model().sites.find((each) => each.path === path)!;
    const weight = { ...site, values: model().parameters.get(site.weight)!.data as Float32Array };
    const scores = scoresOf(kind, weight, (await normsOf(kind, batches)).get(path)!);
    for (const select of ["max", "min", "mixed"] as const) {
      const found = indicesOf(await attach({ mode, rowScore, select, rank: 3 }));
      expect(found, select).toEqual([...chooseByScore(scores, 3, select)]);
    }
  });

  it("chooses entries", async () => {
    const site = model().sites.find((each) => each.path === path)!;
    const weight = { ...site, values: model().parameters.get(site.weight)!.data as Float32Array };
    const scores = scoresOf("entries", weight, (await normsOf("entries", batches)).get(path)!);
    const [k, expected] = [5, [...chooseByScore(scores, 5, "max")]];
    const found = indicesOf(await attach({ mode: "entries", count: k, select: "max" }));
    const flat = Array.from({ length: k }, (_, i) => found[i]! * site.inFeatures + found[k + i]!);
    expect(flat).toEqual(expected);
  });

  it("gives every layer its own rank and keeps the lists of the config", async () => {
    const settings = {
      select: "max",
      rankPattern: { "intermediate.dense": 2 },
      indices: { "layer.1.intermediate.dense": [4] },
    };
    const adapted = await attach(settings as Partial<RocoftConfig>);
    const { buffers } = adapted.adapters.get("default")!;
    expect(indicesOf(adapted)).toHaveLength(2);
    expect([...buffers.get("bert.encoder.layer.1.intermediate.dense.indices")!.data]).toEqual([4]);
    expect(buffers.get("bert.encoder.layer.0.output.dense.indices")!.shape).toEqual([3]);
  });

  it("looks at no data for other choices", async () => {
    const rows = indicesOf(await attach({ select: "last" }, []));
    expect(rows).toEqual([9, 10, 11]);
  });

  it.each([
    [undefined, /select: "min" looks at data.*but got no batches\. Pass apply\(\{ batches, runner: engine \}\)/u],
    [[], /the batches it got hold no token/u],
    [[{ input_ids: int32([3, 4], [1, 2]), attention_mask: int32([0, 0], [1, 2]) }], /hold no token/u],
  ])("says what it needs when it gets %j", async (data, message) => {
    const attaching = peft(model())
      .use(rocoft, { select: "min" })
      .apply(data === undefined ? {} : { batches: data, runner: engine });
    await expect(attaching).rejects.toThrow(message);
    await expect(attaching).rejects.toThrow(expect.objectContaining({ code: "CALIBRATION_DATA_MISSING" }));
  });

  it("refuses scores that are no numbers", async () => {
    const base = model();
    (base.parameters.get(`${path}.weight`)!.data as Float32Array)[3] = Number.NaN;
    const attaching = peft(base).use(rocoft, { select: "max" }).apply({ batches, runner: engine });
    await expect(attaching).rejects.toThrow(expect.objectContaining({ code: "CALIBRATION_NOT_FINITE" }));
    await expect(attaching).rejects.toThrow(path);
  });
});
