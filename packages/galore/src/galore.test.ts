import { peft } from "@peftjs/core";
import type { LayerSite, PeftModel, PluginContext, TrainableParameter } from "@peftjs/core";
import { full } from "@peftjs/method-classic";
import { lora } from "@peftjs/method-lora-family";
import { fromConfig } from "@peftjs/models";
import { describe, expect, it } from "vitest";
import { galore, GaloreConfig } from "./index.ts";

const sizes = { vocab_size: 30, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 12 };
const base = fromConfig({ model_type: "roberta", max_position_embeddings: 20, ...sizes }, { labels: ["no", "yes"] });

/** Projected weights, without what all of them begin with. */
function projected(model: PeftModel): string[] {
  const keys = Object.keys(model.trainable()).filter((key) => model.plugins.rule(key) !== null);
  return keys.map((key) => key.replace(/^default\.roberta\.encoder\.layer\./u, ""));
}

function start(model: PeftModel, config: object = {}): void {
  const { plugins } = model;
  galore.start?.({
    ...{ config: GaloreConfig.parse(config), parameters: plugins.parameters(), sites: plugins.sites },
    ...{ blocks: plugins.blocks, responsive: plugins.responsive(), state: undefined },
    tools: {} as PluginContext<GaloreConfig>["tools"],
  });
}

describe("what is projected", () => {
  const layers = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"];
  const all = [...layers, "intermediate.dense", "output.dense"].map((layer) => `${layer}.weight`);

  it("is the weight of every linear layer outside of the head, of everything that learns", async () => {
    const model = await peft(base).use(full).use(galore, { rank: 2 }).apply();
    expect(projected(model)).toEqual([0, 1].flatMap((block) => all.map((name) => `${block}.${name}`)));
  });

  it.each([
    [
      { targetModules: ["query", "1.output.dense"] },
      ["0.attention.self.query", "1.attention.self.query", "1.output.dense"],
    ],
    [{ targetRoles: ["value"] }, ["0.attention.self.value", "1.attention.self.value"]],
    [{ targetModules: "ALL-linear", excludeModules: ".*(self|dense).*" }, []],
    [
      { targetModules: ".*1.attention.self.*", excludeModules: ["key"] },
      ["1.attention.self.query", "1.attention.self.value"],
    ],
    [{ targetModules: ["classifier.dense", "query"] }, ["0.attention.self.query", "1.attention.self.query"]],
  ])("follows %o", async (targets, expected) => {
    const model = await peft(base)
      .use(full)
      .use(galore, { rank: 2, ...targets })
      .apply();
    expect(projected(model)).toEqual(expected.map((name) => `${name}.weight`));
  });

  it("is only what the method beside it trains", async () => {
    const targeted = { targetModules: ["value"] };
    const model = await peft(base).use(full, targeted).use(galore, { rank: 2 }).apply();
    expect(projected(model)).toEqual(["0.attention.self.value.weight", "1.attention.self.value.weight"]);
    expect(() => start(model)).not.toThrow();
  });

  it("has a projection by what is out and in, however it is stored", async () => {
    const model = await peft(base).use(full).apply();
    const [parameter] = model.plugins.parameters().filter(({ key }) => key.endsWith("query.weight"));
    const of = (shape: readonly number[]) => {
      const site = { ...parameter?.site, layout: "in_out" } as LayerSite;
      return galore.parameterRule?.(
        { ...(parameter as TrainableParameter), shape, site },
        GaloreConfig.parse({ rank: 2 }),
      );
    };
    expect(Object.keys(of([8, 24])?.state ?? {})).toEqual(["basis.rows", "m", "v", "clock"]);
    expect(of([32, 8])?.state).toMatchObject({ "basis.columns": { shape: [2, 8] }, m: { shape: [32, 2] } });
    // Both are 8 wide on the side that is compressed; of a square matrix that is the input.
    expect(Object.keys(of([8, 8])?.state ?? {})).toContain("basis.rows");
  });
});

describe("a rule", () => {
  it("is of one kind for matrices that are compressed alike", async () => {
    const model = await peft(base).use(full).use(galore, { rank: 2 }).apply();
    const kind = (name: string) => model.plugins.rule(`default.roberta.encoder.layer.${name}.weight`)?.kind;
    expect(kind("0.attention.self.query")).toBe(kind("1.attention.self.value"));
    expect(kind("0.attention.self.query")).toBe(kind("0.intermediate.dense"));
    // Of 8 rows and 12 columns, the rows are compressed.
    expect(kind("0.output.dense")).not.toBe(kind("0.intermediate.dense"));
  });
});

describe("refusals", () => {
  it("names full when no targeted weight learns as it is", async () => {
    const model = await peft(base).use(lora, { rank: 2 }).use(galore).apply();
    expect(() => start(model)).toThrow(
      expect.objectContaining({ code: "NOTHING_TO_PROJECT", message: expect.stringContaining("use(full, {") }),
    );
  });

  it("knows near misses", async () => {
    const model = await peft(base).use(full).use(galore).apply();
    expect(() => start(model, { targetModules: ["qery"] })).toThrow(/Did you mean "query"/u);
  });

  it("wants one way to name targets", () => {
    expect(() => GaloreConfig.parse({ targetModules: ["query"], targetRoles: ["query"] })).toThrow(
      /names layers on its own/u,
    );
  });
});
