import {
  createGenerator,
  isHalf,
  isInt8,
  PeftError,
  type Architecture,
  type Head,
  type Int8Tensor,
  type ParameterSpec,
  type StoredTensor,
  type TensorSource,
} from "@peftjs/core";
import { outputSize } from "../encoder/family.ts";
import { initialise } from "../init.ts";
import { ownParameters } from "../model.ts";
import { heldAs, inOrder, type FrozenPlan } from "./frozen.ts";
import { frozenCache, type CachedWeight, type FrozenCache } from "./frozenCache.ts";
import { bytesByType, hold, type HoldOptions } from "./hold.ts";
import { belongsToHead, isBuffer, modelName } from "./names.ts";

/** What did not go one to one from the file to the model, and what became of it there. */
export interface LoadReport {
  /** Parameters of the head that the file lacks: drawn fresh. */
  readonly missing: readonly string[];
  /** Tensors of the file that the model has no place for. */
  readonly unexpected: readonly string[];
  /** Parameters whose shape in the file differs: drawn fresh because `ignoreMismatchedSizes` was given. */
  readonly reinitialised: readonly string[];
  /** Bytes that the parameters take in memory, by their type. */
  readonly frozen: Readonly<Partial<Record<StoredTensor["dtype"], number>>>;
  /** Whether the quantized weights came from the cache, or were made and written there. Null without one. */
  readonly cache: "read" | "written" | null;
}

export interface LoadContext {
  readonly architecture: Architecture;
  readonly specs: readonly ParameterSpec[];
  readonly head: Head;
  readonly seed: number;
  readonly ignoreMismatchedSizes: boolean;
  readonly plan: FrozenPlan;
  /** Named in errors. */
  readonly folder: string;
}

/** Reads every parameter from the file, one at a time; what the head lacks is drawn fresh in the order of the parameters. */
export async function loadWeights(
  file: TensorSource,
  context: LoadContext,
): Promise<{ parameters: Map<string, StoredTensor>; report: LoadReport }> {
  const { names, unexpected } = resolveNames(file.names, context);
  const own = ownParameters(context.specs);
  checkComplete(own, names, context);
  const sources = new Map<string, string>();
  for (const spec of own) {
    const fileName = names.get(spec.name);
    if (fileName !== undefined && hasShape(file, fileName, spec, context)) sources.set(spec.name, fileName);
  }
  const cache = await openCache(file, { own, sources, plan: context.plan });
  const quantized = (await cache?.read()) ?? null;
  const generator = createGenerator(context.seed);
  const parameters = new Map<string, StoredTensor>();
  for (const spec of inOrder(context.plan, own)) {
    const fileName = sources.get(spec.name);
    const how = { name: spec.name, held: heldAs(context.plan, spec), parameters };
    const tensor =
      fileName === undefined
        ? initialise(spec, generator)
        : (quantized?.get(spec.name) ?? (await readHeld(file, fileName, how)));
    parameters.set(spec.name, tensor);
  }
  if (quantized === null) await cache?.write(new Map([...parameters].filter(isQuantized)));
  const fresh = own.map(({ name }) => name).filter((name) => !sources.has(name));
  const report: LoadReport = {
    missing: fresh.filter((name) => !names.has(name)),
    unexpected,
    reinitialised: fresh.filter((name) => names.has(name)),
    frozen: bytesByType({ parameters }),
    cache: cache === null ? null : quantized === null ? "written" : "read",
  };
  return { parameters, report };
}

/** Where the weights that are to be held in eight bits are kept; null where none are, or no folder is named. */
async function openCache(
  source: TensorSource,
  {
    own,
    sources,
    plan,
  }: {
    readonly own: readonly ParameterSpec[];
    readonly sources: ReadonlyMap<string, string>;
    readonly plan: FrozenPlan;
  },
): Promise<FrozenCache | null> {
  const weights = own.flatMap((spec): CachedWeight[] => {
    const [fileName, held] = [sources.get(spec.name), heldAs(plan, spec)];
    if (fileName === undefined || held.type !== "int8") return [];
    const { axis, backward, norm } = held;
    return [{ name: spec.name, shape: spec.shape, fileName, axis, backward, norm }];
  });
  return plan.cache === undefined || weights.length === 0 ? null : frozenCache(plan.cache, { source, weights });
}

function isQuantized(entry: [string, StoredTensor]): entry is [string, Int8Tensor] {
  return isInt8(entry[1]);
}

/** Model name → file name. A tied tensor stands in for the parameter it shares memory with when that one is absent. */
function resolveNames(
  fileNames: readonly string[],
  { architecture, specs }: LoadContext,
): { names: Map<string, string>; unexpected: string[] } {
  const known = { names: new Set(specs.map((spec) => spec.name)), basePrefix: architecture.basePrefix };
  const names = new Map<string, string>();
  const unexpected: string[] = [];
  for (const fileName of fileNames) {
    const name = modelName(fileName, known);
    if (name !== null && (name === fileName || !names.has(name))) names.set(name, fileName);
    else if (name === null && !isBuffer(fileName)) unexpected.push(fileName);
  }
  for (const { name, tiedTo } of specs) {
    const copy = names.get(name);
    if (tiedTo !== undefined && copy !== undefined && !names.has(tiedTo)) names.set(tiedTo, copy);
  }
  return { names, unexpected };
}

function checkComplete(
  own: readonly ParameterSpec[],
  names: ReadonlyMap<string, string>,
  { head, architecture, folder }: LoadContext,
): void {
  const absent = own.filter((spec) => !names.has(spec.name) && !belongsToHead(spec, head, architecture.basePrefix));
  if (absent.length === 0) return;
  const listed = absent.slice(0, 5).map((spec) => spec.name);
  throw new PeftError(
    "WEIGHTS_MISSING",
    `${folder} lacks ${absent.length} of the ${own.length} parameters of a ${architecture.modelType} model: ${listed.join(", ")}${absent.length > 5 ? ", …" : ""}. ` +
      `The weights are incomplete, or config.json belongs to another model.`,
  );
}

/** Throws unless the shapes agree or differing ones are to be ignored. */
function hasShape(
  file: TensorSource,
  fileName: string,
  spec: ParameterSpec,
  { head, architecture, ignoreMismatchedSizes, folder }: LoadContext,
): boolean {
  const { shape } = file.info(fileName);
  if (shape.join() === spec.shape.join()) return true;
  if (ignoreMismatchedSizes) return false;
  const [outputs, asked] = [shape[0] ?? 1, outputSize(head)];
  if (
    belongsToHead(spec, head, architecture.basePrefix) &&
    spec.shape[0] === asked &&
    shape.slice(1).join() === spec.shape.slice(1).join()
  ) {
    throw new PeftError(
      "LABEL_COUNT_MISMATCH",
      `The classifier in ${folder} has ${outputs} outputs, but the task has ${asked === 1 ? "one" : asked}${head.kind === "sequenceClassification" ? ` (${head.labels.slice(0, 8).join(", ")}${asked > 8 ? ", …" : ""})` : ""}. ` +
        `Use the model's own labels, or pass \`ignoreMismatchedSizes: true\` to start with a fresh classifier.`,
    );
  }
  throw new PeftError(
    "SHAPE_MISMATCH",
    `${fileName} in ${folder} has shape [${shape.join(", ")}]; config.json asks for [${spec.shape.join(", ")}]. Correct config.json, or pass \`ignoreMismatchedSizes: true\` to draw it fresh.`,
  );
}

async function readHeld(file: TensorSource, fileName: string, how: HoldOptions): Promise<StoredTensor> {
  const wide = how.held.type === "float32" || how.held.type === "int8";
  const tensor = await (wide ? file.tensor(fileName) : file.stored(fileName));
  if (tensor.dtype === "float32" || isHalf(tensor)) return hold(tensor, how);
  throw new PeftError(
    "DTYPE_UNSUPPORTED",
    `${fileName} is stored as ${tensor.dtype}; the parameter ${how.name} needs a floating-point type.`,
  );
}
