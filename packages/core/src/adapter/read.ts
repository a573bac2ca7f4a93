import { stat } from "node:fs/promises";
import { join } from "node:path";
import { aboutBase, readAdapterConfig } from "../checkpoint/readAdapterConfig.ts";
import { fileTensors, keyPrefix, matchNames, type FileTensor } from "../checkpoint/keys.ts";
import { PeftError } from "../errors.ts";
import { readJsonObject } from "../files.ts";
import { storedLike, widen } from "../stored.ts";
import type { MethodRegistry } from "../method/registry.ts";
import type { BaseModel } from "../model/model.ts";
import { SafetensorsFile } from "../safetensors/read.ts";
import type { HostTensor } from "../tensors.ts";
import { printWarning, type Warn } from "../warnings.ts";
import { createAdapter, parameterOf, type Adapter, type CreateAdapterOptions, type Override } from "./adapter.ts";
import { interchangedFrom } from "./interchange.ts";
import { shapeError, tensorsError } from "./readErrors.ts";
import { restoreLayers } from "./restore.ts";
import { tiedNames } from "./tied.ts";

export const CONFIG_FILE = "adapter_config.json";
export const TENSOR_FILE = "adapter_model.safetensors";

export interface ReadAdapterOptions {
  readonly dir: string;
  /** The methods that may be loaded. */
  readonly methods: MethodRegistry;
  /**
   * Name of the method that the adapter shall be of, where the file is of a type that it only shares or can say as well. Default: a
   * method whose own type it is, else one that can say it.
   */
  readonly as?: string;
  /** Regular expression → replacement, applied to the names in the file: for models whose modules were renamed. */
  readonly keyMapping?: Readonly<Record<string, string>>;
  /** Receives what is worth knowing although nothing failed. Default: the console. */
  readonly onWarning?: Warn;
}

export interface LoadReport {
  readonly adapter: Adapter;
  /** Names of tensors that the file lacks. */
  readonly missing: readonly string[];
  /** Names in the file that mean nothing to the adapter. */
  readonly unexpected: readonly string[];
}

/**
 * The adapter of a folder, for a base model but not attached to one.
 * @throws PeftError as `loadAdapter`.
 */
export async function readAdapter(
  base: BaseModel,
  options: ReadAdapterOptions & { readonly adapterName: string; readonly strict: boolean },
): Promise<LoadReport> {
  const { dir, methods, as, adapterName, strict, keyMapping = {}, onWarning = printWarning } = options;
  const folder = await findFolder(dir, adapterName);
  const path = join(folder, CONFIG_FILE);
  const json = await readJsonObject(path);
  const { reader, config, rest } = readAdapterConfig(json, { methods, path, as, warn: onWarning });
  const method = reader.interchange?.carrier ?? reader.method;
  const about = aboutBase(json, base);
  const file = await SafetensorsFile.open(join(folder, TENSOR_FILE));
  try {
    const adapter = await createFor(
      base,
      { name: adapterName, method, config, filled: strict ? "all" : "some", configJson: rest, onWarning },
      about,
    );
    const names = await fill(base, adapter, { file, strict, mapping: keyMapping, about });
    restoreLayers(base, adapter);
    return { adapter: await interchangedFrom(base, adapter, reader), ...names };
  } finally {
    await file.close();
  }
}

/** Layers that the model lacks are a sign of a file for another one. */
async function createFor(base: BaseModel, options: CreateAdapterOptions, about: string): Promise<Adapter> {
  try {
    return await createAdapter(base, options);
  } catch (error) {
    if (!(error instanceof PeftError) || !["TARGET_NOT_FOUND", "MODULE_UNKNOWN"].includes(error.code)) throw error;
    throw new PeftError(error.code, `${error.message} ${about}`, { cause: error });
  }
}

interface FillOptions {
  readonly file: SafetensorsFile;
  readonly strict: boolean;
  readonly mapping: Readonly<Record<string, string>>;
  readonly about: string;
}

/** A tensor of the adapter and its name in the file. */
export interface Source {
  readonly target: FileTensor;
  readonly name: string;
}

async function fill(
  base: BaseModel,
  adapter: Adapter,
  { file, strict, mapping, about }: FillOptions,
): Promise<Omit<LoadReport, "adapter">> {
  const expected = new Map(fileTensors(base, adapter).map((tensor) => [tensor.key, tensor]));
  const original = new Map(file.names.map((name) => [rename(name, mapping), name]));
  const prefix = keyPrefix(adapter);
  const names = matchNames([...expected.keys()], [...original.keys()], prefix);
  const source = (target: FileTensor, name: string): Source => ({ target, name: original.get(name) as string });
  const sources = [...names.found].map(([key, name]) => source(expected.get(key) as FileTensor, name));
  const unexpected: string[] = [];
  for (const { name, key } of names.unexpected) {
    const target = baseTensor(base, adapter, { name: key.slice(prefix.length), key });
    if (target === null) unexpected.push(name);
    else sources.push(source(target, name));
  }
  const { missing } = names;
  if (strict && missing.length + unexpected.length > 0)
    throw tensorsError(adapter, { file, expected, missing, unexpected, about });
  const misshapen = sources.filter(({ target, name }) => !sameShape(target.read(), file.info(name)));
  if (misshapen.length > 0) throw shapeError(misshapen, { file, about });
  for (const { target, name } of sources) target.write(await file.tensor(name));
  return { missing, unexpected };
}

function rename(name: string, mapping: Readonly<Record<string, string>>): string {
  return Object.entries(mapping).reduce(
    (renamed, [pattern, replacement]) => renamed.replace(new RegExp(pattern, "u"), replacement),
    name,
  );
}

function sameShape(a: { readonly shape: readonly number[] }, b: { readonly shape: readonly number[] }): boolean {
  return a.shape.join() === b.shape.join();
}

/**
 * A base parameter that the file holds although its config does not say so: one outside the adapted layers is saved with the
 * adapter. One of an adapted layer, such as an embedding's table, stands in for the model's own where it differs.
 */
function baseTensor(
  base: BaseModel,
  adapter: Adapter,
  { name, key }: { readonly name: string; readonly key: string },
): FileTensor | null {
  const parameter = name.replace(/\.base_layer\.(?=[^.]+$)/u, ".");
  if (!base.parameters.has(parameter) || adapter.overrides.has(parameter)) return null;
  const inLayer = parameter !== name;
  const own = parameterOf(base, parameter);
  const write = (tensor: HostTensor): void => {
    const override: Override = inLayer
      ? { kind: "replaced", tensor: storedLike(tensor, own) }
      : { kind: "saved", tensor };
    if (inLayer && sameValues(widen(own), widen(override.tensor))) return;
    for (const tied of tiedNames(base, parameter)) adapter.overrides.set(tied, override);
  };
  return { key, site: null, read: () => own, write };
}

function sameValues({ data: a }: HostTensor, { data: b }: HostTensor): boolean {
  return a.length === b.length && a.every((value, i) => Object.is(value, b[i]));
}

async function findFolder(dir: string, adapterName: string): Promise<string> {
  for (const folder of [dir, join(dir, adapterName)]) {
    if ((await stat(join(folder, CONFIG_FILE)).catch(() => null)) !== null) return folder;
  }
  throw new PeftError(
    "FILE_NOT_FOUND",
    `Neither ${join(dir, CONFIG_FILE)} nor ${join(dir, adapterName, CONFIG_FILE)} exists. Give the folder that saveAdapter wrote.`,
  );
}
