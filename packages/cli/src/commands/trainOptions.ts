import { pluginNamed, registeredMethods, registeredPlugins } from "@peftjs/bench";
import { parseConfig, PeftError } from "@peftjs/core";
import type { AttachedPlugin, Method, TrainingPlugin } from "@peftjs/core";
import { parseTrainingConfig, TrainingConfig } from "@peftjs/train";
import type { TrainingConfigInput } from "@peftjs/train";
import type { Command } from "commander";
import { Option } from "commander";
import { z } from "zod";
import { checkKeys, readConfigFile } from "../options/configFile.ts";
import { camel, fieldFlags, kebab, optionOf, parseFields, readValues } from "../options/fields.ts";
import type { FieldFlag } from "../options/fields.ts";
import { FrozenFields } from "../options/frozen.ts";
import { listOfNames, required } from "../options/common.ts";

/** Options of `train` that are neither training options nor the method's. */
const OwnOptions = z.strictObject({
  model: z.string().describe("Base model folder."),
  data: z.string().describe("Training rows: .jsonl, .csv or .tsv with text, label and perhaps a second text."),
  eval: z.string().optional().describe("Rows to choose the best epoch by."),
  method: z.string().default("lora").describe("Method; see `peftjs methods`."),
  use: z
    .array(z.string())
    .optional()
    .describe("Training plug-ins, separated by commas or one per --use; see `peftjs methods`."),
  out: z.string().describe("Folder of the adapter."),
  kind: z
    .enum(["classification", "regression"])
    .optional()
    .describe("What the labels mean. Default: regression when one is a number that is not whole."),
  labels: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("Labels in the order of the logits. Default: those of the data, sorted."),
  batchSize: z.int().positive().default(16).describe("Rows of a batch."),
  maxLength: z
    .int()
    .positive()
    .optional()
    .describe("Longer texts are cut to this many tokens. Default: the model's limit."),
  newHead: z
    .boolean()
    .default(false)
    .describe("Start with a fresh head where the model's own has another number of labels."),
  ...FrozenFields.shape,
  checkpoints: z.string().optional().describe("Folder for checkpoints, to go on from with --resume."),
  resume: z.boolean().default(false).describe("Go on from the newest checkpoint."),
  engine: z.enum(["onnx", "eager"]).default("onnx").describe("How programs run."),
  threads: z.int().positive().optional().describe("Threads. Default: all cores."),
  overwrite: z.boolean().default(false).describe("Replace what --out holds."),
  json: z.boolean().default(false).describe("Print one JSON object at the end."),
});
type OwnOptions = z.infer<typeof OwnOptions>;

export interface TrainOptions extends OwnOptions {
  readonly adapterMethod: Method;
  readonly methodConfig: object;
  readonly plugins: readonly AttachedPlugin[];
  readonly training: TrainingConfigInput;
}

/** Set by this command, not by its user. */
const HIDDEN_TRAINING_FIELDS = ["outputDir", "resume", "loadBest"];

function trainingFlags(): FieldFlag[] {
  return fieldFlags(TrainingConfig).filter(({ field }) => !HIDDEN_TRAINING_FIELDS.includes(field));
}

/** What decides which options `train` has besides its own. */
export interface Chosen {
  readonly method: Method;
  readonly plugins: readonly TrainingPlugin[];
}

/** Declares the options of `train`: those of the method and the plug-ins come from their schemas. */
export function declareTrainOptions(command: Command, { method, plugins }: Chosen): Command {
  command.option("--config <file>", "YAML or JSON with these options' names; the command line wins over it");
  const groups: readonly (readonly [string, readonly FieldFlag[]])[] = [
    ["Options:", fieldFlags(OwnOptions)],
    ["Training:", trainingFlags()],
    [`Method "${method.name}":`, methodFlags(method)],
    ...plugins.map((plugin) => [`Plug-in "${plugin.name}":`, pluginFlags(plugin)] as const),
  ];
  for (const [heading, flags] of groups) {
    for (const flag of flags) {
      const option = optionOf(flag);
      if (flag.field === "use") option.argParser(moreNames);
      command.addOption(option.helpGroup(heading));
      if (flag.isBoolean) command.addOption(new Option(`--no-${flag.flag}`).hideHelp());
    }
  }
  return command;
}

function moreNames(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...listOfNames(text)];
}

/** A method's settings; one that the command has under the same name, too, goes by the method's name and its own. */
export function methodFlags(method: Method): FieldFlag[] {
  const taken = new Set([...fieldFlags(OwnOptions), ...trainingFlags()].map(({ flag }) => flag));
  return fieldFlags(method.config).map((field) => {
    return taken.has(field.flag) ? prefixed(field, method.name) : field;
  });
}

/** A plug-in's settings, each by the plug-in's name and its own. */
export function pluginFlags(plugin: TrainingPlugin): FieldFlag[] {
  return fieldFlags(plugin.config).map((field) => prefixed(field, plugin.name));
}

function prefixed(field: FieldFlag, name: string): FieldFlag {
  const flag = `${kebab(name)}-${field.flag}`;
  return { ...field, flag, option: camel(flag) };
}

/**
 * What the arguments or the configuration file name, before the rest of them can be read.
 * @throws PeftError `METHOD_UNKNOWN`, `PLUGIN_UNKNOWN`; `PLUGIN_UNUSED` where there is a setting of a plug-in that they do not name.
 */
export function chosen(args: readonly string[]): Chosen {
  const file = values(args, "config").at(-1);
  const fromFile = file === undefined ? {} : readConfigFile(file);
  const inFile = fromFile["method"];
  const method =
    values(args, "method").at(-1) ?? (typeof inFile === "string" ? inFile : OwnOptions.shape.method.parse(undefined));
  const uses = values(args, "use");
  const names = new Set(uses.length > 0 ? uses.flatMap(listOfNames) : namesOf(fromFile["use"]));
  const plugins = [...names].map(pluginNamed);
  refuseUnused(plugins, [...Object.keys(fromFile), ...optionsOf(args)]);
  return { method: registeredMethods().get(method), plugins };
}

/** A list of the options that are known would not say what is missing. */
function refuseUnused(plugins: readonly TrainingPlugin[], options: readonly string[]): void {
  for (const plugin of registeredPlugins()) {
    if (plugins.includes(plugin)) continue;
    const setting = pluginFlags(plugin).find(({ option }) => options.includes(option));
    if (setting === undefined) continue;
    throw new PeftError(
      "PLUGIN_UNUSED",
      `--${setting.flag} is a setting of the plug-in "${plugin.name}", which this run does not use. Add --use ${plugin.name}, or leave the setting out.`,
    );
  }
}

/** The names of all options, as they would stand in a file. */
function optionsOf(args: readonly string[]): string[] {
  return args.flatMap((arg) => camel(/^--(?:no-)?([^=]+)/.exec(arg)?.[1] ?? ""));
}

/** What else a file may hold there is complained about when its options are checked. */
function namesOf(value: unknown): readonly string[] {
  if (typeof value === "string") return listOfNames(value);
  return Array.isArray(value) ? value.filter((name) => typeof name === "string") : [];
}

/** The values of an option, in the order of the arguments. */
function values(args: readonly string[], name: string): string[] {
  return args.flatMap((arg, at) => {
    if (arg === `--${name}`) return args[at + 1] ?? [];
    return arg.startsWith(`--${name}=`) ? arg.slice(name.length + 3) : [];
  });
}

/** Joins flags over file over defaults, and checks everything against the schemas. */
export function resolveTrainOptions(
  flags: Readonly<Record<string, unknown>>,
  { method, plugins }: Chosen,
): TrainOptions {
  const { config: file, ...given } = flags;
  const all = [
    ...fieldFlags(OwnOptions),
    ...trainingFlags(),
    ...methodFlags(method),
    ...plugins.flatMap((plugin) => pluginFlags(plugin)),
  ];
  const fromFile = typeof file === "string" ? readConfigFile(file) : {};
  if (typeof file === "string")
    checkKeys(
      file,
      Object.keys(fromFile),
      all.map(({ option }) => option),
    );
  const merged = { ...fromFile, ...given };
  const values = readValues(merged, fieldFlags(OwnOptions));
  required(values["model"], "--model", "./bert-base-uncased");
  required(values["data"], "--data", "train.jsonl");
  required(values["out"], "--out", "my-adapter");
  const own = parseFields(OwnOptions, values);
  const training = readValues(merged, trainingFlags()) as TrainingConfigInput;
  parseTrainingConfig(training);
  const methodConfig = parseConfig(method, readValues(merged, methodFlags(method)));
  const configured = plugins.map((plugin) => ({
    plugin,
    config: parseConfig(plugin, readValues(merged, pluginFlags(plugin))),
  }));
  return { ...own, adapterMethod: method, methodConfig, plugins: configured, training };
}
