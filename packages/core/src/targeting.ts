import { z } from "zod";
import { PeftError } from "./errors.ts";
import { PROMPT, type LayerSite } from "./model/site.ts";
import { nearMisses } from "./nearMisses.ts";

/**
 * Which layers a method attaches to. Used by every method's schema: `z.strictObject({ ...targetFields, rank: … })`.
 * Semantics are those of the Python library: a list names suffixes (whole path, or its tail after a dot), a string is a
 * regular expression over the whole path, "all-linear" is every linear layer. Saved modules, which are the head unless the config says
 * otherwise, are no targets.
 */
export const targetFields = {
  targetModules: z
    .union([z.array(z.string()).readonly(), z.string()])
    .nullable()
    .default(null)
    .describe('Suffixes, a regular expression, or "all-linear". Default: the architecture\'s own.'),
  targetRoles: z
    .array(z.string())
    .readonly()
    .nullable()
    .default(null)
    .describe('Layer roles, e.g. ["query", "value"]. Instead of targetModules.'),
  excludeModules: z
    .union([z.array(z.string()).readonly(), z.string()])
    .nullable()
    .default(null)
    .describe("Suffixes or a regular expression of layers to leave out."),
  layersToTransform: z
    .union([z.array(z.int()).readonly(), z.int()])
    .nullable()
    .default(null)
    .describe("Indices of the transformer blocks to adapt. Default: all."),
  layersPattern: z
    .union([z.array(z.string()).readonly(), z.string()])
    .nullable()
    .default(null)
    .describe('With layersToTransform: the index is the number behind a component of this name, e.g. "layer".'),
  modulesToSave: z
    .array(z.string())
    .readonly()
    .nullable()
    .default(null)
    .describe("Modules trained in full and saved with the adapter. Default: the task head."),
} as const;

/** Keys of these fields in adapter_config.json, for a method's `wire.config`; roles are written as the layers they come to. */
export const targetWire = {
  targetModules: "target_modules",
  excludeModules: "exclude_modules",
  layersToTransform: "layers_to_transform",
  layersPattern: "layers_pattern",
  modulesToSave: "modules_to_save",
} as const;

const TargetSchema = z.object(targetFields);
export type TargetConfig = z.infer<typeof TargetSchema>;

/** What targeting needs to know of a model. */
export interface TargetContext {
  readonly sites: readonly LayerSite[];
  readonly defaultTargets: readonly string[];
  readonly headModules: readonly string[];
}

/**
 * The layers a config names, in the model's order.
 * @throws PeftError `TARGET_NOT_FOUND` when nothing matches, `CONFIG_INVALID` for a broken regular expression, two selections at once, or
 * a `layersPattern` without `layersToTransform`.
 */
export function resolveTargets(config: TargetConfig, context: TargetContext): LayerSite[] {
  const saved = config.modulesToSave ?? context.headModules;
  // What is no layer is asked for by its role, and never by a name that happens to match.
  const sites = context.sites.filter(({ kind }) => kind !== "prompt" || config.targetRoles?.includes(PROMPT) === true);
  const candidates = sites.filter(
    (site) =>
      !isInModules(site.path, saved) &&
      !(config.excludeModules !== null && matchesTargets(config.excludeModules, site.path)),
  );
  const selected = select(config, context, candidates);
  const kept = selected.filter((site) => isInBlocks(config, site) || isExactName(config, site));
  if (kept.length === 0) throw notFound(config, { ...context, sites }, candidates, selected);
  return kept;
}

/**
 * Paths of the layers that target settings name, without attaching anything: `listTargets(base, { targetModules: ["query"] })`.
 * @throws PeftError as `resolveTargets`.
 */
export function listTargets(base: TargetContext, config: Partial<TargetConfig> = {}): string[] {
  return resolveTargets(TargetSchema.parse(config), base).map(({ path }) => path);
}

function select(config: TargetConfig, context: TargetContext, candidates: readonly LayerSite[]): LayerSite[] {
  const { targetModules, targetRoles } = config;
  if (targetModules !== null && targetRoles !== null) {
    throw new PeftError(
      "CONFIG_INVALID",
      "Both targetModules and targetRoles are set. Keep one of them: each names layers on its own.",
    );
  }
  if (targetRoles !== null) return candidates.filter((site) => targetRoles.includes(site.role));
  if (typeof targetModules === "string" && targetModules.toLowerCase() === "all-linear") {
    return candidates.filter((site) => site.kind === "linear");
  }
  if (targetModules === null && context.defaultTargets.length === 0) {
    throw new PeftError(
      "TARGET_NOT_FOUND",
      `This architecture has no default targets. Set targetModules, e.g. "all-linear". ${available(candidates)}`,
    );
  }
  const wanted = targetModules ?? context.defaultTargets;
  return candidates.filter((site) => matchesTargets(wanted, site.path));
}

/** Whether a path is matched by a list of suffixes (whole path, or its tail after a dot) or a regular expression over all of it. */
export function matchesTargets(rule: readonly string[] | string, path: string): boolean {
  if (typeof rule === "string") return regularExpression(rule).test(path);
  return rule.some((suffix) => path === suffix || path.endsWith(`.${suffix}`));
}

function regularExpression(source: string, prefix = ""): RegExp {
  try {
    return new RegExp(`^(?:${prefix}(?:${source}))$`, "u");
  } catch (cause) {
    throw new PeftError("CONFIG_INVALID", `"${source}" is not a regular expression: ${(cause as Error).message}.`, {
      cause,
    });
  }
}

/** Whether a parameter is a bias, by its name: `bias`, or a path that ends in it. */
export function isBias(name: string): boolean {
  return name === "bias" || name.endsWith(".bias");
}

/** Whether `path` is one of the named modules or lies inside one; a name is a whole path or its tail after a dot. */
export function isInModules(path: string, modules: readonly string[]): boolean {
  return modules.some((name) => `.${path}.`.includes(`.${name}.`));
}

/**
 * Whether `layersToTransform` takes the layer in; an empty list says nothing. A layer's index is that of its block, else the first
 * number in its path; with `layersPattern`, the number behind a component that matches.
 */
export function isInBlocks(
  { layersToTransform, layersPattern }: Pick<TargetConfig, "layersToTransform" | "layersPattern">,
  { path, block }: Pick<LayerSite, "path" | "block">,
): boolean {
  const blocks = layersToTransform === null ? [] : [layersToTransform].flat();
  const patterns = layersPattern === null ? [] : [layersPattern].flat().filter((pattern) => pattern !== "");
  if (patterns.length > 0 && layersToTransform === null) {
    throw new PeftError(
      "CONFIG_INVALID",
      `layersPattern ${JSON.stringify(layersPattern)} says where a layer's index stands, but layersToTransform names none. Set both, or neither.`,
    );
  }
  if (blocks.length === 0) return true;
  const index =
    patterns.length === 0
      ? (block ?? numberIn(path, "(?:.*?\\.)??"))
      : patterns.map((pattern) => numberIn(path, `(?:.*?\\.)??(?:${pattern})\\.`)).find((found) => found !== null);
  return typeof index === "number" && blocks.includes(index);
}

/** The component right behind what `before` matches, when it is a number. */
function numberIn(path: string, before: string): number | null {
  const digits = regularExpression(`${before}(?<index>\\d+)(?:\\..*)?`).exec(path)?.groups?.["index"];
  return digits === undefined ? null : Number(digits);
}

/** An entry that is a whole path names its layer whatever `layersToTransform` says. */
function isExactName(config: TargetConfig, site: LayerSite): boolean {
  return Array.isArray(config.targetModules) && config.targetModules.includes(site.path);
}

function notFound(
  config: TargetConfig,
  context: TargetContext,
  candidates: readonly LayerSite[],
  selected: readonly LayerSite[],
): PeftError {
  if (selected.length > 0) {
    const blocks = context.sites.flatMap((site) => (site.block === null ? [] : [site.block]));
    const pattern = config.layersPattern === null ? "" : ` with layersPattern ${JSON.stringify(config.layersPattern)}`;
    return new PeftError(
      "TARGET_NOT_FOUND",
      `layersToTransform ${JSON.stringify(config.layersToTransform)}${pattern} leaves none of the ${selected.length} matched layers. ` +
        `The model has blocks 0 to ${Math.max(...blocks, 0)}.`,
    );
  }
  const wanted = config.targetRoles ?? config.targetModules ?? context.defaultTargets;
  const words = typeof wanted === "string" ? [wanted] : wanted;
  const names = config.targetRoles === null ? suffixes(candidates) : [...new Set(candidates.map((site) => site.role))];
  const near = [...new Set(words.flatMap((word) => nearMisses(word, names)))];
  const hint = near.length === 0 ? "" : ` Did you mean ${near.map((name) => `"${name}"`).join(" or ")}?`;
  const hidden = context.sites.length - candidates.length;
  const note = hidden === 0 ? "" : ` ${hidden} layers are left out by excludeModules or modulesToSave.`;
  return new PeftError(
    "TARGET_NOT_FOUND",
    `No layer matches ${JSON.stringify(wanted)}.${hint} ${available(candidates)}${note}`,
  );
}

function available(sites: readonly LayerSite[]): string {
  return `Layers end in: ${suffixes(sites).join(", ") || "(none)"}.`;
}

function suffixes(sites: readonly LayerSite[]): string[] {
  return [...new Set(sites.map((site) => site.path.split(".").at(-1) as string))];
}

/**
 * The value of the first pattern that matches a path, as in the Python library: a key is a regular expression for the whole path
 * or for its tail after a dot. `undefined` when none matches.
 */
export function patternValue<T>(patterns: Readonly<Record<string, T>>, path: string): T | undefined {
  for (const [pattern, value] of Object.entries(patterns)) {
    if (regularExpression(pattern, "(?:.*\\.)?").test(path)) return value;
  }
  return undefined;
}
