import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MethodRegistry, peft, SafetensorsFile, writeSafetensors } from "../src/index.ts";
import type { HostTensor, PeftModel } from "../src/index.ts";
import { added, fill, tinyModel, type AddedConfig } from "./tiny.ts";

export const methods = new MethodRegistry().use(added);

/** What the Python library puts before every module path. */
export const P = "base_model.model.";

/** A new empty folder. */
export const fresh = (): string => mkdtempSync(join(tmpdir(), "peft-adapter-"));

export const readConfig = (dir: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as Record<string, unknown>;

export function changeConfig(dir: string, changes: object): void {
  writeFileSync(join(dir, "adapter_config.json"), JSON.stringify({ ...readConfig(dir), ...changes }));
}

/** The tiny model with an adapter of random values. */
export async function trained(config: Partial<AddedConfig> = {}, name = "default"): Promise<PeftModel> {
  const model = await peft(tinyModel()).use(added, config, { name }).apply();
  fill(model, 12);
  return model;
}

export async function readTensors(dir: string): Promise<Map<string, HostTensor>> {
  const file = await SafetensorsFile.open(join(dir, "adapter_model.safetensors"));
  const tensors = new Map<string, HostTensor>();
  for (const name of file.names) tensors.set(name, await file.tensor(name));
  await file.close();
  return tensors;
}

/** Changes the tensors of an adapter folder. */
export async function rewrite(
  dir: string,
  change: (tensors: Map<string, HostTensor>) => Map<string, HostTensor> | unknown,
): Promise<void> {
  const tensors = await readTensors(dir);
  const changed = change(tensors);
  await writeSafetensors(join(dir, "adapter_model.safetensors"), changed instanceof Map ? changed : tensors);
}

/** What a promise is rejected with. */
export async function failureOf(promise: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (reason: unknown) => reason,
  );
  return error as Error & { readonly code?: string };
}
