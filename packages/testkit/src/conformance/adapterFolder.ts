import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { expect } from "vitest";

type Json = Readonly<Record<string, unknown>>;

export async function readTensors(path: string): Promise<Map<string, HostTensor>> {
  const file = await openSafetensors(path);
  try {
    return new Map(await Promise.all(file.names.map(async (name) => [name, await file.tensor(name)] as const)));
  } finally {
    await file.close();
  }
}

export function readAdapterTensors(folder: string): Promise<Map<string, HostTensor>> {
  return readTensors(join(folder, "adapter_model.safetensors"));
}

export function readAdapterConfig(folder: string): Json {
  return JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as Json;
}

/** An adapter folder holds what the Python library wrote: the same tensors, to the bit, and settings. */
export async function expectSameFiles(folder: string, python: string): Promise<void> {
  const [ours, theirs] = await Promise.all([readAdapterTensors(folder), readAdapterTensors(python)]);
  // With bias: "all" Python also writes copies of the head's biases under names that no reader needs.
  const needed = [...theirs.keys()].filter((key) => !/\.(original_module|modules_to_save)\./u.test(key));
  expect([...ours.keys()].sort()).toEqual(needed.sort());
  for (const key of needed) expect(ours.get(key), key).toEqual(theirs.get(key));
  expectSameSettings(folder, python);
}

/** The same settings, wherever the base model lies. Target modules are a set in Python, in no order. */
export function expectSameSettings(folder: string, python: string): void {
  const settings = (path: string): Json => {
    const { base_model_name_or_path: _, target_modules, ...json } = readAdapterConfig(path);
    return { ...json, target_modules: [...(target_modules as string[])].sort() };
  };
  expect(settings(folder)).toEqual(settings(python));
}
