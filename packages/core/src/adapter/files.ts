import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { serializeConfig, toAdapterConfig } from "../checkpoint/adapterConfig.ts";
import { formTensors } from "../checkpoint/keys.ts";
import { modelCard } from "../checkpoint/modelCard.ts";
import { readText, writeFolderAtomic } from "../files.ts";
import type { FileForm } from "../method/method.ts";
import type { PeftModel } from "../peftModel.ts";
import { writeSafetensors } from "../safetensors/write.ts";
import { hostSite, type Adapter } from "./adapter.ts";
import { interchangedTo } from "./interchange.ts";
import { checkNewName, findAdapter } from "./names.ts";
import { CONFIG_FILE, readAdapter, TENSOR_FILE, type LoadReport, type ReadAdapterOptions } from "./read.ts";

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
  /**
   * Another type of file to write the adapter as, which says exactly the same: what the method's `interchange` names. Default: the
   * method's own.
   */
  readonly as?: string;
  /**
   * Whether the whole tables of adapted embeddings are written too. "auto": those named `embed_tokens` or `lm_head`, as in the Python
   * library, and those that differ from the model's own. Default "auto".
   */
  readonly saveEmbeddingLayers?: boolean | "auto";
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
 * `dir` itself, any other into `dir/<name>`. The files appear complete or not at all; what a README.md that is there already says
 * is kept, and its front matter updated. Returns the folder.
 * @throws PeftError `ADAPTER_UNKNOWN`; `INTERCHANGE_UNSUPPORTED` when the type of `as` cannot say this adapter.
 */
export async function saveAdapter(
  model: PeftModel,
  { dir, adapterName, dtype = "F32", native = false, as, saveEmbeddingLayers = "auto" }: SaveAdapterOptions,
): Promise<string> {
  const own = findAdapter(model.adapters, adapterName ?? model.active[0] ?? "default");
  const adapter = as === undefined || as === own.method.name ? own : await interchangedTo(model.base, own, as);
  const folder = adapter.name === "default" ? dir : join(dir, adapter.name);
  const form = fileForm(adapter, native);
  const tensors = formTensors(model.base, adapter, { ...form, saveEmbeddingLayers });
  const config = toAdapterConfig(model.base, { ...adapter, config: form.config });
  const present = await readText(join(folder, "README.md")).catch(() => null);
  await writeFolderAtomic(folder, async (temporary) => {
    await writeSafetensors(join(temporary, TENSOR_FILE), tensors, { dtype });
    await writeFile(join(temporary, CONFIG_FILE), serializeConfig(config));
    await writeFile(
      join(temporary, "README.md"),
      modelCard({ ...own.method, wire: adapter.method.wire }, { config, present }),
    );
  });
  return folder;
}

export interface LoadAdapterOptions extends ReadAdapterOptions {
  /** Default "default". */
  readonly adapterName?: string;
  /**
   * False: missing tensors keep their initial values, drawn as for a new adapter, and unexpected ones are passed over; both are
   * reported. Default true.
   */
  readonly strict?: boolean;
}

/**
 * Reads an adapter folder of this or the Python library and attaches it; it becomes active when it is the first one.
 * Half-precision tensors are widened. A module of the base model that the file holds although its config does not list it (Python
 * saves heads so) is taken as saved. A file of a type that no registered method owns is read by one that can say what it says; `as`
 * names the method that shall. When anything is wrong the model stays as it was.
 * @throws PeftError `FILE_NOT_FOUND`, `JSON_INVALID`, `SAFETENSORS_INVALID`, `ADAPTER_CONFIG_INVALID`, `ADAPTER_CONFIG_UNSUPPORTED`,
 * `METHOD_UNKNOWN`, `INTERCHANGE_UNSUPPORTED` (a file of another type that the method cannot say), `ADAPTER_TENSORS` (missing or unexpected names), `SHAPE_MISMATCH`.
 */
export async function loadAdapter(
  model: PeftModel,
  { adapterName = "default", strict = true, ...options }: LoadAdapterOptions,
): Promise<LoadReport> {
  checkNewName(model.adapters, adapterName);
  const report = await readAdapter(model.base, { ...options, adapterName, strict });
  model.insert(report.adapter);
  return report;
}
