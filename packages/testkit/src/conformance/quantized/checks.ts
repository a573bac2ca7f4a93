import { isInt8, loadAdapter, parseConfig, PeftModel, quantizedBase, saveAdapter } from "@peftjs/core";
import type { BaseModel, HostTensor, QuantizedBase, StoredTensor } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { expect } from "vitest";
import { tol } from "../../close.ts";
import { compareAllClose } from "../../matchers.ts";
import { relativeDifference } from "../compare.ts";
import { readersOf } from "../files.ts";
import type { Suite } from "../options.ts";
import { attached, logits, perturb, train, type Subject } from "../run.ts";
import { batchAt, tinyModel, type Family } from "../subjects.ts";
import { dequantizedModel, int8Model } from "./bases.ts";
import { watched } from "./readsOf.ts";

/** A method under a config on a base in eight bits. */
export interface QuantizedSetting {
  readonly suite: Pick<Suite, "tolerance">;
  readonly subject: Subject;
  readonly family: Family;
  /** Computes with the values of weights in eight bits in float32. */
  readonly eager: Engine;
  /** Has integer products. */
  readonly compiled: Engine;
  /** Makes an empty folder. */
  readonly folder: () => string;
}

export interface QuantizedCheck {
  readonly name: string;
  /** Throws where the method does not keep what it promises. */
  check(setting: QuantizedSetting): Promise<void>;
}

const STEPS = 2;

/**
 * A weight that the method replaces is rounded again: by up to half a scale of what is left of it, as the base was by half a scale of its
 * own. In units of what that made of the base's output; 0.8 at most is measured.
 */
const REPLACED = 1.5;

/**
 * The rounding errors of the base go through the same layers with an adapter as without, which may enlarge what they come to. In units of
 * what they come to without; about 1 is measured, and 2.9 with drawn virtual tokens, which are larger than the tokens of the tiny model.
 */
const ON_FLOAT32 = 3;

/** Integer products round their inputs, too. Of the largest logit; 0.03 at most is measured. */
const INTEGER_PRODUCTS = 0.06;

/** What the method says of weights in eight bits under the subject's config. */
export function claimOf({
  subject: { method, config },
  family,
}: Pick<QuantizedSetting, "subject" | "family">): QuantizedBase {
  const parsed = parseConfig(method, config);
  return quantizedBase(method, method.resolve?.(parsed, tinyModel(family)) ?? parsed);
}

/** For methods that work with weights in eight bits. */
export const quantizedChecks: readonly QuantizedCheck[] = [
  { name: "reads, replaces and trains no weight unless it says so", check: keepsClaim },
  { name: "starts as on the dequantized values, and learns the same", check: startsAsOnValues },
  { name: "starts and learns with integer products", check: worksCompiled },
  {
    name: "saved and loaded, it gives the same output, and on the float32 base one as close as the bases are",
    check: savesAndLoads,
  },
];

/** For those that do not. */
export const refusedChecks: readonly QuantizedCheck[] = [{ name: "is refused", check: isRefused }];

async function keepsClaim(setting: QuantizedSetting): Promise<void> {
  const { subject, eager: engine, family } = setting;
  const base = int8Model(family);
  const { method, reads } = watched(subject.method);
  const model = await attached({ ...subject, method }, { family, engine, base });
  await train(model, { family, engine, steps: 1 });
  const loaded = await reloaded({ ...setting, subject: { ...subject, method } }, { model, base });
  await run(loaded, setting);
  if (method.capabilities.merge) model.merge();
  if (claimOf(setting) !== "output") return;
  expect([...reads], "functions that read the weight").toEqual([]);
  const own = [...(model.adapters.get("default")?.overrides.keys() ?? [])];
  expect(
    own.filter((name) => isInt8(base.parameters.get(name) as StoredTensor)),
    "weights of its own",
  ).toEqual([]);
}

async function startsAsOnValues(setting: QuantizedSetting): Promise<void> {
  const { subject, eager: engine, family } = setting;
  const base = int8Model(family);
  const before = new Map([...base.parameters].map(([name, { data }]) => [name, data.slice()]));
  const [model, expected] = [
    await attached(subject, { family, engine, base }),
    await attached(subject, { family, engine, base: dequantizedModel(family) }),
  ];
  const [fresh, target] = [await run(model, setting), await run(expected, setting)];
  const losses = await train(model, { family, engine, steps: STEPS });
  expect(losses.every(Number.isFinite), `finite losses: ${losses.join(", ")}`).toBe(true);
  if (replacesWeights(model)) {
    expect(relativeDifference(fresh.data, target.data)).toBeLessThan(REPLACED * (await errorOfBase(setting)));
  } else {
    expect(fresh.data).toEqual(target.data);
    expect(losses).toEqual(await train(expected, { family, engine, steps: STEPS }));
  }
  for (const [name, { data }] of base.parameters) expect(data, name).toEqual(before.get(name));
}

async function worksCompiled(setting: QuantizedSetting): Promise<void> {
  const { subject, eager, compiled: engine, family } = setting;
  // Calibrated alike, so that the two differ by their products alone.
  const model = await attached(subject, { family, engine: eager, base: int8Model(family) });
  const actual = await logits(model, { engine, batch: batchAt(family, 0) });
  expect(relativeDifference(actual.data, (await run(model, setting)).data)).toBeLessThan(INTEGER_PRODUCTS);
  const losses = await train(model, { family, engine, steps: STEPS });
  expect(losses.every(Number.isFinite), `finite losses: ${losses.join(", ")}`).toBe(true);
}

async function savesAndLoads(setting: QuantizedSetting): Promise<void> {
  const { subject, eager: engine, family } = setting;
  const model = await attached(subject, { family, engine, base: int8Model(family) });
  perturb(model, { std: 0.02 });
  const expected = await run(model, setting);
  const again = await reloaded(setting, { model, base: int8Model(family) });
  const { pass, message } = compareAllClose(await run(again, setting), expected, setting.suite.tolerance ?? tol.deep);
  expect(pass, message()).toBe(true);
  const onFloat32 = await reloaded(setting, { model, base: tinyModel(family) });
  const difference = relativeDifference((await run(onFloat32, setting)).data, expected.data);
  expect(difference).toBeLessThan(ON_FLOAT32 * (await errorOfBase(setting)));
}

async function isRefused({ subject, eager: engine, family }: QuantizedSetting): Promise<void> {
  await expect(attached(subject, { family, engine, base: int8Model(family) })).rejects.toThrow(
    expect.objectContaining({ code: "QUANTIZED_UNSUPPORTED" }),
  );
  await attached(subject, { family, engine, base: tinyModel(family) });
}

function run(model: PeftModel, { eager: engine, family }: QuantizedSetting): Promise<HostTensor> {
  return logits(model, { engine, batch: batchAt(family, 0) });
}

/** How far the model in eight bits is from the one that it was made from. */
async function errorOfBase(setting: QuantizedSetting): Promise<number> {
  const [rounded, exact] = [int8Model(setting.family), tinyModel(setting.family)].map((base) => new PeftModel(base));
  return relativeDifference(
    (await run(rounded as PeftModel, setting)).data,
    (await run(exact as PeftModel, setting)).data,
  );
}

function replacesWeights(model: PeftModel): boolean {
  return [...model.adapters.values()].some(({ overrides }) =>
    [...overrides.values()].some(({ kind }) => kind === "replaced"),
  );
}

/** The adapter of a model, by way of a folder, on another base. */
async function reloaded(
  { subject, folder }: QuantizedSetting,
  { model, base }: { readonly model: PeftModel; readonly base: BaseModel },
): Promise<PeftModel> {
  const dir = await saveAdapter(model, { dir: folder(), native: true });
  const loaded = new PeftModel(base);
  await loadAdapter(loaded, { dir, methods: readersOf(subject.method) });
  return loaded;
}
