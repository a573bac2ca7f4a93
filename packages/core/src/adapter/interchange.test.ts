import { readFileSync } from "node:fs";
import { join } from "node:path";
import { installMatchers, tol } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { changeConfig, failureOf, fresh, methods, P, readConfig, readTensors, rewrite } from "../../test/folders.ts";
import { added, AddedConfig, fill, logits, tinyModel } from "../../test/tiny.ts";
import {
  defineInterchange,
  defineMethod,
  float32,
  hotSwapAdapter,
  loadAdapter,
  MethodRegistry,
  peft,
  PeftError,
  PeftModel,
  saveAdapter,
  targetFields,
  zeros,
} from "../index.ts";
import type { FileForm, HostSite, HostTensor, Method } from "../index.ts";

installMatchers();

const MirroredConfig = z.strictObject({
  ...targetFields,
  pairs: z.int().positive(),
  fanInFanOut: z.boolean().default(false),
});
type MirroredConfig = z.infer<typeof MirroredConfig>;

/** A file that holds −A and −B, and counts the rank in pairs. */
const mirrored: Method<MirroredConfig> = defineMethod<MirroredConfig>({
  name: "mirrored",
  description: "A file that is never run.",
  package: "@peftjs/core",
  config: MirroredConfig,
  wire: {
    peftType: "MIRRORED",
    config: {
      ...{ targetModules: "target_modules", excludeModules: "exclude_modules", modulesToSave: "modules_to_save" },
      ...{ pairs: "pairs", fanInFanOut: "fan_in_fan_out" },
    },
    tensors: { a: "mirror_A.weight", b: "mirror_B.weight", biasB: "mirror_B.bias" },
    accepts: (json) => json["warped"] !== true,
  },
  capabilities: { merge: false, multiAdapter: false, identityAtStart: false },
  targets: (config) => config,
  init: ({ site, config }) => ({
    params: { a: zeros([2 * config.pairs, site.inFeatures]), b: zeros([site.outFeatures, 2 * config.pairs]) },
  }),
});

function negated<Config extends object>(config: Config, sites: readonly HostSite<object>[]): FileForm<Config> {
  const minus = ({ data, shape }: HostTensor): HostTensor =>
    float32(
      Float32Array.from(data, (value) => -value),
      shape,
    );
  return {
    config,
    params: new Map(
      sites.map(({ site, params: { a, b } }) => [site.path, { a: minus(a as HostTensor), b: minus(b as HostTensor) }]),
    ),
  };
}

const toMirrored = defineInterchange<AddedConfig, MirroredConfig>({
  carrier: mirrored,
  to: ({ config, sites }) => {
    if (config.rank % 2 !== 0) throw new PeftError("INTERCHANGE_UNSUPPORTED", `Rank ${config.rank} is odd.`);
    return negated(MirroredConfig.parse({ pairs: config.rank / 2 }), sites);
  },
  from: ({ config, sites }) => negated(AddedConfig.parse({ rank: 2 * config.pairs }), sites),
});
const speaking: Method<AddedConfig> = { ...added, interchange: [toMirrored] };
const speakers = new MethodRegistry().use(speaking);

/** What is warned of in these tests. */
const nothing = (message: string): never => {
  throw new Error(message);
};

async function trainedModel(config: Partial<AddedConfig> = {}): Promise<PeftModel> {
  const model = await peft(tinyModel()).use(speaking, config).apply();
  fill(model, 12);
  return model;
}

async function loaded(dir: string, registry: MethodRegistry, as?: string): Promise<PeftModel> {
  const model = new PeftModel(tinyModel());
  await loadAdapter(model, { dir, methods: registry, onWarning: nothing, ...(as === undefined ? {} : { as }) });
  return model;
}

const A = `${P}body.layer.0.query.mirror_A.weight`;

describe("an adapter written as another type of file", () => {
  it("has that type's config, tensors and card, and the saved modules as they are", async () => {
    const dir = fresh();
    const model = await trainedModel({ targetModules: "all-linear" });
    await saveAdapter(model, { dir, as: "mirrored" });
    expect(readConfig(dir)).toMatchObject({
      ...{ peft_type: "MIRRORED", pairs: 1, fan_in_fan_out: false, base_model_name_or_path: "tiny" },
      ...{ target_modules: ["query", "value"], modules_to_save: ["classifier", "score"], task_type: "SEQ_CLS" },
    });
    expect(readConfig(dir)["added_kind"]).toBeUndefined();
    const tensors = await readTensors(dir);
    const { params } = model.adapters.get("default") as { params: Map<string, HostTensor> };
    expect(tensors.get(A)?.data).toEqual(params.get("body.layer.0.query.a")?.data.map((value) => -value));
    expect([...tensors.keys()].filter((name) => !name.includes("mirror_"))).toEqual([
      `${P}classifier.bias`,
      `${P}classifier.weight`,
    ]);
    const card = readFileSync(join(dir, "README.md"), "utf8");
    expect(card).toContain("A low-rank addition.");
    expect(card).toContain("- added\n- base_model:adapter:tiny\n- mirrored\n");
    // The adapter itself stays what it was.
    expect(model.adapters.get("default")?.method.name).toBe("added");
  });

  it("is read back as the adapter that it was, and computes the same", async () => {
    const dir = fresh();
    const model = await trainedModel({ layersToTransform: 1 });
    await saveAdapter(model, { dir, as: "mirrored" });
    const again = await loaded(dir, speakers);
    const { method, config, layers } = again.adapters.get("default")!;
    expect(method.name).toBe("added");
    expect(config).toMatchObject({ rank: 2, targetModules: ["1.query"], modulesToSave: ["classifier"] });
    expect(layers.map(({ site }) => site.path)).toEqual(["body.layer.1.query"]);
    expect(again.trainable()).toEqual(model.trainable());
    expect(logits(again)).toBeAllClose(logits(model), tol.exact);
    // From here on its own form is written.
    const own = fresh();
    await saveAdapter(again, { dir: own });
    expect(readConfig(own)).toMatchObject({ peft_type: "ADDED", added_kind: "plain", task_type: "SEQ_CLS" });
    expect(readConfig(own)["pairs"]).toBeUndefined();
  });

  it("can be swapped into a running adapter", async () => {
    const dir = fresh();
    const model = await trainedModel();
    await saveAdapter(model, { dir, as: "mirrored" });
    const running = await trainedModel();
    fill(running, 5);
    await hotSwapAdapter(running, { dir, methods: speakers });
    expect(logits(running)).toBeAllClose(logits(model), tol.exact);
  });

  it("is the method's own file by the method's own name", async () => {
    const dir = fresh();
    await saveAdapter(await trainedModel(), { dir, as: "added" });
    expect(readConfig(dir)["peft_type"]).toBe("ADDED");
  });

  it("is refused where the type cannot say it", async () => {
    const dir = fresh();
    expect(await failureOf(saveAdapter(await trainedModel(), { dir, as: "mirored" }))).toMatchObject({
      code: "INTERCHANGE_UNSUPPORTED",
      message: expect.stringMatching(
        /"mirored"\. Did you mean "mirrored"\? It can be written as: added, mirrored/u,
      ) as unknown,
    });
    expect(await failureOf(saveAdapter(await trainedModel({ rank: 3 }), { dir, as: "mirrored" }))).toMatchObject({
      code: "INTERCHANGE_UNSUPPORTED",
      message: "Rank 3 is odd.",
    });
    const withTokens = await trainedModel({ trainableTokenIndices: [1] });
    expect(await failureOf(saveAdapter(withTokens, { dir, as: "mirrored" }))).toMatchObject({
      code: "INTERCHANGE_UNSUPPORTED",
      message: expect.stringMatching(/trains rows of "body\.embed".*without trainableTokenIndices/u) as unknown,
    });
  });

  it("names a form that its config does not fit", async () => {
    const model = await peft(tinyModel())
      .use({
        ...speaking,
        interchange: [
          defineInterchange<AddedConfig, MirroredConfig>({
            carrier: mirrored,
            to: ({ sites }) => {
              const form = negated(MirroredConfig.parse({ pairs: 1 }), sites);
              const params = [...form.params].map(([path, named]) => [path, { ...named, biasB: zeros([4]) }] as const);
              return { ...form, params: new Map(params) };
            },
          }),
        ],
      })
      .apply();
    expect(await failureOf(saveAdapter(model, { dir: fresh(), as: "mirrored" }))).toMatchObject({
      code: "METHOD_INVALID",
      message: expect.stringMatching(
        /The form of "mirrored" gives "body.layer.0.query.biasB".* has a, b\./u,
      ) as unknown,
    });
  });
});

describe("whose file it is", () => {
  const owner: Method<MirroredConfig> = { ...mirrored, name: "owner" };
  const both = new MethodRegistry().use(speaking).use(owner);

  async function file(): Promise<string> {
    const dir = fresh();
    await saveAdapter(await trainedModel(), { dir, as: "mirrored" });
    return dir;
  }

  it("is the registered method's whose type it is, unless another is asked for", async () => {
    const dir = await file();
    expect((await loaded(dir, both)).adapters.get("default")?.method).toBe(owner);
    expect((await loaded(dir, both, "added")).adapters.get("default")?.method).toBe(speaking);
    expect((await loaded(dir, both, "owner")).adapters.get("default")?.method).toBe(owner);
  });

  it("is nobody's when nobody reads the type, or this file of it", async () => {
    const dir = await file();
    expect(await failureOf(loaded(dir, methods))).toMatchObject({
      code: "METHOD_UNKNOWN",
      message: expect.stringContaining("Registered types: ADDED.") as unknown,
    });
    changeConfig(dir, { warped: true });
    expect(await failureOf(loaded(dir, speakers))).toMatchObject({
      code: "METHOD_UNKNOWN",
      message: expect.stringMatching(/of peft_type "MIRRORED" \(added\) do not support this/u) as unknown,
    });
    expect(await failureOf(loaded(dir, both, "added"))).toMatchObject({
      code: "INTERCHANGE_UNSUPPORTED",
      message: expect.stringMatching(/"added" reads .* ADDED, MIRRORED, and not this one/u) as unknown,
    });
    changeConfig(dir, { peft_type: "OTHER" });
    expect(await failureOf(loaded(dir, both, "added"))).toMatchObject({
      code: "INTERCHANGE_UNSUPPORTED",
      message: expect.stringMatching(/this one has "OTHER"\. Read it by the method that wrote it/u) as unknown,
    });
    expect(await failureOf(loaded(dir, both, "adedd"))).toMatchObject({ code: "METHOD_UNKNOWN" });
  });

  it("is not read by a method that only writes the type", async () => {
    const dir = await file();
    const { to } = toMirrored;
    const writer = { ...added, interchange: [{ carrier: toMirrored.carrier, ...(to === undefined ? {} : { to }) }] };
    expect(await failureOf(loaded(dir, new MethodRegistry().use(writer as Method<AddedConfig>)))).toMatchObject({
      code: "METHOD_UNKNOWN",
    });
  });

  it("is refused when it changes more than the method's files can say", async () => {
    const dir = await file();
    const bias = `${P}body.layer.0.query.base_layer.bias`;
    await rewrite(dir, (tensors) => tensors.set(bias, float32([1, 2, 3, 4], [4])));
    expect(await failureOf(loaded(dir, speakers))).toMatchObject({
      code: "INTERCHANGE_UNSUPPORTED",
      message: expect.stringContaining('changes "body.layer.0.query.bias" of an adapted layer') as unknown,
    });
  });

  it("is checked like any other file", async () => {
    const dir = await file();
    await rewrite(dir, (tensors) => tensors.delete(A));
    expect(await failureOf(loaded(dir, speakers))).toMatchObject({
      code: "ADAPTER_TENSORS",
      message: expect.stringContaining(A) as unknown,
    });
  });
});
