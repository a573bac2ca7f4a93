import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PeftError } from "@peftjs/core";
import { parse } from "yaml";
import { z } from "zod";
import { FrozenSetting } from "./frozen.ts";
import { experimentsFolder } from "./paths.ts";

const positive = z.int().positive();

/** How a row of the table is trained; what an entry with an addition does not say is that of the row it adds to. */
const RowSettings = z.strictObject({
  method: z
    .string()
    .describe("The registered method, for a further row of the table with other settings.")
    .exactOptional(),
  learningRate: z.number().positive().exactOptional(),
  config: z.record(z.string(), z.unknown()).describe("The method's own settings.").exactOptional(),
  plugins: z
    .record(z.string(), z.record(z.string(), z.unknown()))
    .describe("Training plug-ins and their settings.")
    .exactOptional(),
  frozen: FrozenSetting.describe("How frozen weights are held.").exactOptional(),
});
export type RowSettings = z.infer<typeof RowSettings>;

const MethodsFile = z.record(z.string(), RowSettings);
export type MethodsFile = z.infer<typeof MethodsFile>;

/** Scores of others, in percent, to be shown beside the rows of the same names. */
const Published = z.strictObject({ source: z.string(), scores: z.record(z.string(), z.number()) });
export type Published = z.infer<typeof Published>;

/** A preset: what is compared and for how long. */
export const Experiment = z.strictObject({
  tasks: z.union([z.literal("all"), z.array(z.string()).min(1)]),
  /** Rows of the table; "all" is every method with its variants, also as an entry of the list. */
  methods: z.union([z.literal("all"), z.array(z.string()).min(1)]).default("all"),
  /** Rows of this preset alone, in the form of methods.yaml. */
  variants: MethodsFile.default({}),
  seeds: z.array(z.int().min(0)).min(1),
  batchSize: positive.default(16),
  maxLength: positive.default(64),
  weightDecay: z.number().min(0).default(0.01),
  warmupFraction: z.number().min(0).max(1).default(0.1),
  epochs: positive,
  rows: z.strictObject({
    /** Training rows of one run, at most. */
    train: positive,
    /** Rows seen by all runs together (rows × epochs × runs): the time budget, in a unit that is the same on every machine. */
    budget: positive.nullable().default(null),
    dev: positive,
    test: positive,
  }),
  published: Published.nullable().default(null),
});
export type Experiment = z.infer<typeof Experiment>;

/** Presets that ship with the package. */
export const presetNames = ["quick", "smoke", "full", "ist", "attention", "int8"] as const;

/** Reads a preset by name, or a YAML file by path. Throws `PRESET_NOT_FOUND`, `PRESET_INVALID`. */
export function readExperiment(preset: string): Experiment {
  const named = presetNames.some((name) => name === preset);
  if (!named && !/\.(ya?ml|json)$/.test(preset)) {
    throw new PeftError(
      "PRESET_NOT_FOUND",
      `There is no preset "${preset}". Presets: ${presetNames.join(", ")}; or give the path of a .yaml file of the same form.`,
    );
  }
  return read(named ? join(experimentsFolder, `${preset}.yaml`) : preset, Experiment);
}

/**
 * Settings of the rows of the table, by name: a registered method; a variant that names its `method`; `+NAME`, what a row gets by an
 * addition to its name; or a row with such an addition. `default` serves the methods without an entry.
 */
export function readMethodSettings(): MethodsFile {
  return read(join(experimentsFolder, "methods.yaml"), MethodsFile);
}

function read<T>(path: string, schema: z.ZodType<T>): T {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new PeftError("PRESET_NOT_FOUND", `Cannot read the preset file "${path}". Check the path.`, { cause });
  }
  const parsed = schema.safeParse(parse(text, { merge: true }));
  if (parsed.success) return parsed.data;
  throw new PeftError("PRESET_INVALID", `"${path}" is not a valid preset:\n${z.prettifyError(parsed.error)}`);
}
