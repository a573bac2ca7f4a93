import { didYouMean, isInModules, PeftError } from "@peftjs/core";
import type { Int8Tensor, LayerSite, ParameterSpec, ProductType, SiteNorm } from "@peftjs/core";
import { ownParameters, type ModelLayout } from "../model.ts";

/** How frozen weights are held in memory; `auto`: float16 and bfloat16 as in the file, everything else in float32. */
export const FROZEN_TYPES = ["float32", "float16", "bfloat16", "int8", "auto"] as const;
export type FrozenType = (typeof FROZEN_TYPES)[number];

export interface FrozenOptions {
  /**
   * `int8`: the weights of linear layers in one byte a value, symmetric per output channel; norms, biases, heads and whatever is trained
   * stay float32. The other types hold every weight.
   */
  readonly type: FrozenType;
  /** Tables of word embeddings, and what is tied to them. Default: float32 with `int8`, else `type`. */
  readonly embeddings?: FrozenType;
  /** Of `int8`: how gradients are multiplied with the weights. Default: int8. */
  readonly backward?: ProductType;
  /**
   * Of `int8`: layers that stay float32, by their module paths, the last parts of these, or those of a module that they lie in:
   * `["classifier.dense", "layer.0"]`.
   */
  readonly exclude?: readonly string[];
  /** Of `int8`: a folder in which `fromPretrained` keeps the quantized weights, so that they are made once. */
  readonly cache?: string;
}

/** A type alone stands for options that say nothing else. */
export type Frozen = FrozenType | FrozenOptions;

/** How one parameter is held. */
export type Held = { readonly type: Exclude<FrozenType, "int8"> } | HeldInt8;

export interface HeldInt8 extends Pick<Int8Tensor, "axis" | "backward"> {
  readonly type: "int8";
  /** The normalisation that the layer reads, whose large features are reckoned with. */
  readonly norm: SiteNorm | null;
}

/** How every parameter of a model is held. */
export interface FrozenPlan {
  /** By the names of the parameters that are not tied to others. */
  readonly held: ReadonlyMap<string, Held>;
  readonly cache: string | undefined;
}

const FLOAT32: Held = { type: "float32" };

/**
 * Resolves what `fromPretrained` and `fromConfig` are told of frozen weights.
 * @throws PeftError `DTYPE_UNSUPPORTED` for an unknown type, `CONFIG_INVALID` for options of int8 where nothing is held in it,
 * `TARGET_NOT_FOUND` for a name to exclude that matches no layer.
 */
export function frozenPlan(frozen: Frozen, { specs, sites, headModules }: ModelLayout): FrozenPlan {
  const options = typeof frozen === "string" ? { type: frozen } : frozen;
  const { type, embeddings = type === "int8" ? "float32" : type, backward = "int8", exclude = [], cache } = options;
  checkOptions({ ...options, embeddings });
  const layers = sites.filter(({ kind }) => kind !== "prompt");
  checkExclude(exclude, layers);
  const kept = [...headModules, ...exclude];
  const own = new Map(specs.map(({ name, tiedTo }) => [name, tiedTo ?? name]));
  const ownName = (name: string): string => own.get(name) ?? name;
  const heldOf = ({ kind, path, layout, norm }: LayerSite): Held => {
    const asked = kind === "embedding" ? embeddings : type;
    if (asked !== "int8") return { type: asked };
    // A row of a table is a word: one factor for each is also what a product with the transposed table has as its output channels.
    const axis = kind === "embedding" || layout === "out_in" ? 0 : 1;
    if (isInModules(path, kept)) return FLOAT32;
    return { type: "int8", axis, backward, norm: norm === undefined ? null : named(norm, ownName) };
  };
  const held = new Map(ownParameters(specs).map(({ name }) => [name, type === "int8" ? FLOAT32 : { type }]));
  // Embeddings last: they decide for the layers that are tied to them.
  for (const site of layers
    .filter(({ kind }) => kind === "linear")
    .concat(layers.filter(({ kind }) => kind === "embedding")))
    held.set(ownName(site.weight), heldOf(site));
  return { held, cache };
}

function named({ weight, bias }: SiteNorm, ownName: (name: string) => string): SiteNorm {
  return { weight: ownName(weight), bias: bias === null ? null : ownName(bias) };
}

/** The model's own parameters, those of normalisations that quantized layers read first. */
export function inOrder({ held }: FrozenPlan, own: readonly ParameterSpec[]): readonly ParameterSpec[] {
  const norms = new Set(
    [...held.values()].flatMap((how) => (how.type === "int8" && how.norm !== null ? Object.values(how.norm) : [])),
  );
  return [...own.filter(({ name }) => norms.has(name)), ...own.filter(({ name }) => !norms.has(name))];
}

export function heldAs({ held }: FrozenPlan, { name }: ParameterSpec): Held {
  return held.get(name) ?? FLOAT32;
}

function checkOptions(options: FrozenOptions & { readonly embeddings: FrozenType }): void {
  const { type, embeddings, backward } = options;
  for (const asked of [type, embeddings]) {
    if (!FROZEN_TYPES.includes(asked)) {
      throw new PeftError("DTYPE_UNSUPPORTED", `Weights cannot be held as "${asked}". Choose ${quoted(FROZEN_TYPES)}.`);
    }
  }
  if (backward !== undefined && backward !== "int8" && backward !== "float32") {
    throw new PeftError(
      "CONFIG_INVALID",
      `Gradients cannot be multiplied as "${String(backward)}" (\`backward\`). Choose "int8" or "float32".`,
    );
  }
  const given = (["backward", "exclude", "cache"] as const).filter((name) => options[name] !== undefined);
  if (given.length === 0 || type === "int8" || embeddings === "int8") return;
  throw new PeftError(
    "CONFIG_INVALID",
    `${given.map((name) => `\`${name}\``).join(", ")} says something of weights in int8, but they are held in "${type}". ` +
      'Set `type: "int8"`, or leave it out.',
  );
}

function checkExclude(exclude: readonly string[], sites: readonly LayerSite[]): void {
  for (const name of exclude) {
    if (sites.some(({ path }) => isInModules(path, [name]))) continue;
    const parts = new Set(sites.flatMap(({ path }) => path.split(".")).filter((part) => !/^\d+$/u.test(part)));
    throw new PeftError(
      "TARGET_NOT_FOUND",
      `No layer matches "${name}" of \`exclude\`.${didYouMean(name, parts)} ` +
        `Layers end in: ${[...new Set(sites.map(({ path }) => path.split(".").at(-1)))].join(", ")}.`,
    );
  }
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
