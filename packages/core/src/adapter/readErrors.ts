import { keyPrefix, type FileTensor } from "../checkpoint/keys.ts";
import { PeftError } from "../errors.ts";
import { nearMisses } from "../nearMisses.ts";
import type { SafetensorsFile } from "../safetensors/read.ts";
import type { Adapter } from "./adapter.ts";
import type { Source } from "./read.ts";

export interface TensorsErrorOptions {
  readonly file: SafetensorsFile;
  readonly expected: ReadonlyMap<string, FileTensor>;
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  /** Which base model the file was written for, and which this is. */
  readonly about: string;
}

/** A file whose names are not those of the adapter. Says what is missing, what it may be called, and whose file it may be. */
export function tensorsError(
  adapter: Adapter,
  { file, expected, missing, unexpected, about }: TensorsErrorOptions,
): PeftError {
  const list = (names: readonly string[]): string =>
    `${names.slice(0, 3).join(", ")}${names.length > 3 ? `, and ${names.length - 3} more` : ""}`;
  const parts = [
    `${file.path} does not fit the adapter "${adapter.name}" of method "${adapter.method.name}" on this model.`,
  ];
  if (missing.length > 0) parts.push(`Missing: ${list(missing)}.`);
  if (unexpected.length > 0) parts.push(`Unexpected: ${list(unexpected)}.`);
  const near = missing[0] === undefined ? [] : nearMisses(missing[0], unexpected, { limit: 1 });
  if (near.length > 0) parts.push(`The file's "${near[0]}" looks like "${missing[0]}": \`keyMapping\` renames.`);
  const heads = missingModules(adapter, missing);
  if (heads.length > 0) {
    parts.push(
      `The saved module "${heads[0]}" is not in the file: it was trained with another head, or none. ` +
        `With strict: false the model's own stays, a fresh one if the model was given one.`,
    );
  }
  const layers = [...expected.values()].filter(({ site }) => site !== null).map(({ key }) => key);
  if (missing.length > 0 && 2 * layers.filter((key) => missing.includes(key)).length >= layers.length)
    parts.push(about);
  return new PeftError("ADAPTER_TENSORS", `${parts.join(" ")} Load with strict: false to go on without them.`);
}

/** Saved modules of which every tensor is missing, or some. */
function missingModules(adapter: Adapter, missing: readonly string[]): string[] {
  const { modulesToSave, overrides } = adapter;
  const saved = missing
    .map((key) => key.slice(keyPrefix(adapter).length))
    .filter((name) => overrides.get(name)?.kind === "saved");
  return modulesToSave.filter((module) => saved.some((name) => `.${name}`.includes(`.${module}.`)));
}

/** Tensors of other shapes than the adapter's. The sizes of a layer are the base model's; the others are the config's. */
export function shapeError(
  [first, ...others]: readonly Source[],
  { file, about }: { readonly file: SafetensorsFile; readonly about: string },
): PeftError {
  const { target, name } = first as Source;
  const { site } = target;
  const [found, needed] = [file.info(name).shape, target.read().shape];
  const more = others.length === 0 ? "" : ` ${others.length} more tensors differ.`;
  const ofLayer = (size: number, i: number): boolean =>
    size !== found[i] && (size === site?.inFeatures || size === site?.outFeatures);
  const reason =
    site === null
      ? "The adapter was trained with another number of labels, or for another base model."
      : needed.some(ofLayer)
        ? "The layers of the base model have other sizes."
        : "The adapter has another rank than its config says, or belongs to another base model.";
  return new PeftError(
    "SHAPE_MISMATCH",
    `"${name}" of ${file.path} has shape [${found.join(", ")}], but this model needs [${needed.join(", ")}].${more} ${reason} ${about}`,
  );
}
