import { describe, expect, it } from "vitest";
import { z } from "zod";
import { added, tinyModel } from "../../test/tiny.ts";
import { defineMethod, defineTrainingPlugin, peft } from "../index.ts";
import type { ParameterRule, TrainingPlugin } from "../index.ts";

/** Trains every base parameter as it is. */
const everything = defineMethod<{ modulesToSave: string[] }>({
  name: "everything",
  description: "",
  package: "",
  config: z.strictObject({ modulesToSave: z.array(z.string()).default([]) }),
  wire: { peftType: "EVERYTHING", config: {}, tensors: {} },
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  targets: () => null,
  trains: () => true,
});

const Faster = z.strictObject({ factor: z.number().default(2).describe("Factor of the values' rate.") });
const faster = (name: string, more: Partial<TrainingPlugin<z.infer<typeof Faster>>> = {}) =>
  defineTrainingPlugin<z.infer<typeof Faster>>({
    name,
    description: "",
    package: "",
    config: Faster,
    parameterGroup: ({ site }, { factor }) => (site?.role === "value" ? { lrScale: factor, weightDecay: 0.5 } : {}),
    ...more,
  });

const rule: ParameterRule = {
  kind: "still",
  state: {},
  scalars: () => ({}),
  update: ({ parameter, state }) => ({ parameter, state }),
};

describe("what plug-ins see of a parameter", () => {
  it("is its layer and role, its block, and where it lies, for a method's own and for base parameters", async () => {
    const adapted = await peft(tinyModel())
      .use(added, { targetModules: ["query"] })
      .apply();
    expect(adapted.plugins.parameters().map(({ site, ...rest }) => ({ role: site?.role, ...rest }))).toEqual([
      ...[
        ["classifier.weight", "classifier", [2, 4]],
        ["classifier.bias", "classifier", [2]],
      ].map(([local, role, shape]) => ({
        ...{ role, key: `default.${local as string}`, shape, adapter: "default", name: null, base: local },
        ...{ head: true, afterBlocks: true, block: null },
      })),
      ...[0, 1].flatMap((block) =>
        ["a", "b"].map((name) => ({
          ...{ role: "query", key: `default.body.layer.${block}.query.${name}`, adapter: "default", name, base: null },
          ...{ shape: name === "a" ? [2, 4] : [4, 2], head: false, afterBlocks: false, block },
        })),
      ),
    ]);
  });

  it("says what comes before the blocks, and what after them", async () => {
    const model = await peft(tinyModel()).use(everything).apply();
    const places = model.plugins.parameters().map(({ base, block, afterBlocks }) => [base, block, afterBlocks]);
    expect(places).toEqual([
      ["body.embed.weight", null, false],
      ["body.layer.0.query.weight", 0, false],
      ["body.layer.0.query.bias", 0, false],
      ["body.layer.1.query.weight", 1, false],
      ["body.layer.1.query.bias", 1, false],
      ["body.layer.1.value.weight", 1, false],
      ["body.layer.1.value.bias", 1, false],
      ["classifier.weight", null, true],
      ["classifier.bias", null, true],
    ]);
    expect(model.plugins.blocks).toBe(2);
    // Nothing is added to a layer's output.
    expect(model.plugins.responsive()).toEqual(new Set());
  });

  it("counts a weight that two layers share to the first one", async () => {
    const base = tinyModel();
    const last = base.sites.at(-1)!;
    const output = { ...base.sites[0]!, path: "output", kind: "linear" as const, inFeatures: 4, outFeatures: 5 };
    const model = await peft({ ...base, sites: [...base.sites.slice(0, -1), last, output] })
      .use(everything)
      .apply();
    const embedding = model.plugins.parameters().find(({ base: name }) => name === "body.embed.weight");
    expect([embedding?.site?.path, embedding?.afterBlocks]).toEqual(["body.embed", false]);
  });

  it("follows the adapters that learn", async () => {
    const model = await peft(tinyModel())
      .use(added, { targetModules: ["query"] })
      .use(added, { targetModules: ["value"] }, { name: "second" })
      .apply();
    expect(model.plugins.responsive()).toEqual(new Set([0, 1]));
    model.setLearning("second");
    expect(model.plugins.responsive()).toEqual(new Set([1]));
    expect(new Set(model.plugins.parameters().map(({ adapter }) => adapter))).toEqual(new Set(["second"]));
    expect(model.plugins.blockOf("second.body.layer.1.value.a")).toBe(1);
    expect(model.plugins.blockOf("second.classifier.weight")).toBeNull();
  });
});

describe("plug-ins of a model", () => {
  it("are used beside methods, in any order, with defaults filled in", async () => {
    const model = await peft(tinyModel())
      .use(faster("first"))
      .use(added, { targetModules: ["value"] })
      .apply();
    expect(model.plugins.attached.map(({ plugin, config }) => [plugin.name, config])).toEqual([
      ["first", { factor: 2 }],
    ]);
    model.plugins.detach("first");
    expect(model.plugins.attached).toEqual([]);
  });

  it("multiply their factors; of other values the last one counts", async () => {
    const model = await peft(tinyModel())
      .use(added, { targetModules: ["value", "query"] })
      .use(faster("first"))
      .use(faster("second", { parameterGroup: (_, { factor }) => ({ lrScale: factor, weightDecay: 0.25 }) }), {
        factor: 3,
      })
      .apply();
    expect(model.parameterGroup("default.body.layer.1.value.a")).toEqual({ lrScale: 6, weightDecay: 0.25 });
    expect(model.parameterGroup("default.body.layer.1.query.a")).toEqual({ lrScale: 3, weightDecay: 0.25 });
    expect(() => model.parameterGroup("default.nothing")).toThrow(
      expect.objectContaining({ code: "PARAMETER_UNKNOWN" }),
    );
  });

  it("are refused twice, with one exclusive word, with a wrong config, and with two rules for one parameter", async () => {
    const code = (name: string) => expect.objectContaining({ code: name }) as Error;
    const base = peft(tinyModel()).use(added, { targetModules: ["value"] });
    expect(() => base.use(faster("first")).use(faster("first"))).toThrow(code("PLUGIN_EXISTS"));
    const [one, two] = ["one", "two"].map((name) => faster(name, { exclusive: "blocks" }));
    expect(() => base.use(one!).use(two!)).toThrow(/"one" and "two" both decide the blocks/);
    expect(() => base.use(faster("first"), { faktor: 2 } as object)).toThrow(/Did you mean|factor/);
    const model = await base
      .use(faster("left", { parameterRule: () => rule }))
      .use(faster("right", { parameterRule: ({ name }) => (name === "a" ? rule : null) }))
      .apply();
    expect(model.plugins.rule("default.body.layer.1.value.b")).toBe(rule);
    expect(() => model.plugins.rule("default.body.layer.1.value.a")).toThrow(code("PLUGIN_CONFLICT"));
    expect(() => base.use({} as TrainingPlugin)).toThrow(/expects a method or a plug-in/);
  });
});
