import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromAdapterConfig, serializeConfig, toAdapterConfig } from "../checkpoint/adapterConfig.ts";
import { fileTensors, formTensors, KEY_PREFIX, matchNames, type FileTensor } from "../checkpoint/keys.ts";
import { modelCard } from "../checkpoint/modelCard.ts";
import { PeftError } from "../errors.ts";
import { readJsonObject, writeFolderAtomic } from "../files.ts";
import type { FileForm } from "../method/method.ts";
import type { MethodRegistry } from "../method/registry.ts";
import type { BaseModel } from "../model/model.ts";
import { nearMisses } from "../nearMisses.ts";
import type { PeftModel } from "../peftModel.ts";
import { SafetensorsFile } from "../safetensors/read.ts";
import { writeSafetensors } from "../safetensors/write.ts";
import { createAdapter, hostSite, parameterOf, type Adapter } from "./adapter.ts";
import { checkNewName, findAdapter } from "./names.ts";

const CONFIG_FILE = "adapter_config.json";
const TENSOR_FILE = "adapter_model.safetensors";

export interface SaveAdapterOptions {
  readonly dir: string;
  /** Default: the active adapter. */
  readonly adapterName?: string;
  /** Type of the tensors in the file. Default F32. */
  readonly dtype?: "F32" | "F16" | "BF16";
  /**
   * The method's own form where it also has one that stands on its own: factors that go with a reduced base weight, say, instead of
   * the plain low-rank update they come to. Default false.
   */
  readonly native?: boolean;
}

/** What the method puts into its file. */
function fileForm(adapter: Adapter, native: boolean): FileForm<object> {
  const { method, config } = adapter;
  const sites = adapter.layers.map((layer) => hostSite(adapter, layer));
  return (
    method.file?.({ config, sites, native }) ?? {
      config,
      params: new Map(sites.map(({ site, params }) => [site.path, params])),
    }
  );
}

/**
 * Writes `adapter_config.json`, `adapter_model.safetensors` and `README.md` as the Python library does: the adapter "default" into
 * `dir` itself, any other into `dir/<name>`. The files appear complete or not at all. Returns the folder.
 */
export async function saveAdapter(
  model: PeftModel,
  { dir, adapterName, dtype = "F32", native = false }: SaveAdapterOptions,
): Promise<string> {
  const adapter = findAdapter(model.adapters, adapterName ?? model.active[0] ?? "default");
  const folder = adapter.name === "default" ? dir : join(dir, adapter.name);
  const form = fileForm(adapter, native);
  const tensors = formTensors(model.base, adapter, form);
  await writeFolderAtomic(folder, async (temporary) => {
    await writeSafetensors(join(temporary, TENSOR_FILE), tensors, { dtype });
    await writeFile(
      join(temporary, CONFIG_FILE),
      serializeConfig(toAdapterConfig(model.base, { ...adapter, config: form.config })),
    );
    await writeFile(join(temporary, "README.md"), modelCard(model.base, adapter));
  });
  return folder;
}

export interface LoadAdapterOptions {
  readonly dir: string;
  /** The methods that may be loaded. */
  readonly methods: MethodRegistry;
  /** Default "default". */
  readonly adapterName?: string;
  /** False: missing tensors keep their initial values and unexpected ones are passed over; both are reported. Default true. */
  readonly strict?: boolean;
  /** Regular expression → replacement, applied to the names in the file: for models whose modules were renamed. */
  readonly keyMapping?: Readonly<Record<string, string>>;
}

export interface LoadReport {
  readonly adapter: Adapter;
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
}

/**
 * Reads an adapter folder of this or the Python library and attaches it; it becomes active when it is the first one.
 * Half-precision tensors are widened. A module of the base model that the file holds although its config does not list it (Python
 * saves heads so) is taken as saved. When anything is wrong the model stays as it was.
 * @throws PeftError `FILE_NOT_FOUND`, `JSON_INVALID`, `SAFETENSORS_INVALID`, `ADAPTER_CONFIG_INVALID`, `METHOD_UNKNOWN`,
 * `ADAPTER_TENSORS` (missing or unexpected names), `SHAPE_MISMATCH`.
 */
export async function loadAdapter(model: PeftModel, options: LoadAdapterOptions): Promise<LoadReport> {
  const { dir, methods, adapterName = "default", strict = true } = options;
  checkNewName(model.adapters, adapterName);
  const folder = await findFolder(dir, adapterName);
  const json = await readJsonObject(join(folder, CONFIG_FILE));
  const method = methods.byPeftType(peftType(json, join(folder, CONFIG_FILE)), json);
  const { config, rest } = fromAdapterConfig(method, json);
  const file = await SafetensorsFile.open(join(folder, TENSOR_FILE));
  try {
    const adapter = await createAdapter(model.base, {
      name: adapterName,
      method,
      config,
      blank: strict,
      configJson: rest,
    });
    const report = await fill(model.base, adapter, { file, strict, mapping: options.keyMapping ?? {} });
    model.insert(adapter);
    return { adapter, ...report };
  } finally {
    await file.close();
  }
}

interface FillOptions {
  readonly file: SafetensorsFile;
  readonly strict: boolean;
  readonly mapping: Readonly<Record<string, string>>;
}

async function fill(
  base: BaseModel,
  adapter: Adapter,
  { file, strict, mapping }: FillOptions,
): Promise<Omit<LoadReport, "adapter">> {
  const expected = new Map(fileTensors(base, adapter).map((tensor) => [tensor.key, tensor]));
  const original = new Map(file.names.map((name) => [rename(name, mapping), name]));
  const names = matchNames([...expected.keys()], [...original.keys()]);
  const unexpected: string[] = [];
  for (const { name, key } of names.unexpected) {
    const parameter = key.slice(KEY_PREFIX.length);
    if (!base.parameters.has(parameter) || adapter.overrides.has(parameter)) unexpected.push(name);
    else await readInto(overrideAs(base, adapter, parameter), file, original.get(name) as string);
  }
  if (strict && (names.missing.length > 0 || unexpected.length > 0))
    throw tensorsError(file, adapter, { missing: names.missing, unexpected });
  for (const [key, name] of names.found)
    await readInto(expected.get(key) as FileTensor, file, original.get(name) as string);
  return { missing: names.missing, unexpected };
}

function rename(name: string, mapping: Readonly<Record<string, string>>): string {
  return Object.entries(mapping).reduce(
    (renamed, [pattern, replacement]) => renamed.replace(new RegExp(pattern, "u"), replacement),
    name,
  );
}

function overrideAs(base: BaseModel, adapter: Adapter, parameter: string): FileTensor {
  const write: FileTensor["write"] = (tensor) => void adapter.overrides.set(parameter, { kind: "saved", tensor });
  return { key: KEY_PREFIX + parameter, read: () => parameterOf(base, parameter), write };
}

async function readInto(target: FileTensor, file: SafetensorsFile, name: string): Promise<void> {
  const expected = target.read().shape;
  const { shape } = file.info(name);
  if (shape.join() !== expected.join()) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `"${name}" of ${file.path} has shape [${shape.join(", ")}], but this model needs [${expected.join(", ")}]. ` +
        `The adapter belongs to another base model, another number of labels, or another rank than its config says.`,
    );
  }
  target.write(await file.tensor(name));
}

function tensorsError(
  file: SafetensorsFile,
  adapter: Adapter,
  { missing, unexpected }: { readonly missing: readonly string[]; readonly unexpected: readonly string[] },
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
  const head = missing.find((key) => adapter.overrides.get(key.slice(KEY_PREFIX.length))?.kind === "saved");
  if (head !== undefined) parts.push("A saved module is not in the file: it was trained with another head, or none.");
  return new PeftError("ADAPTER_TENSORS", `${parts.join(" ")} Load with strict: false to go on without them.`);
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

function peftType(json: Readonly<Record<string, unknown>>, path: string): string {
  const type = json["peft_type"];
  if (typeof type === "string") return type;
  throw new PeftError(
    "ADAPTER_CONFIG_INVALID",
    `${path} has no peft_type (found ${JSON.stringify(type)}). It should name the method.`,
  );
}
