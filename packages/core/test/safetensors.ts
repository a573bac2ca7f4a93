import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openSafetensors } from "../src/index.ts";
import type { HostTensor, TensorSource } from "../src/index.ts";

export const fixtures = fileURLToPath(new URL("../../../fixtures/safetensors/", import.meta.url));
/** Adapters that the Python library wrote, where this machine has some. */
export const publicAdapters = fileURLToPath(new URL("../../../../shared/data/adapters/", import.meta.url));
export const publicNames = existsSync(publicAdapters) ? readdirSync(publicAdapters) : [];
export const temporary = mkdtempSync(join(tmpdir(), "peft-safetensors-"));

export const json = <T>(name: string): T => JSON.parse(readFileSync(join(fixtures, name), "utf8")) as T;

export async function readAll(source: TensorSource): Promise<Map<string, HostTensor>> {
  const tensors = new Map<string, HostTensor>();
  try {
    for (const name of source.names) tensors.set(name, await source.tensor(name));
    return tensors;
  } finally {
    await source.close();
  }
}

/** A file with this header, whose length is `claimed` when that is given. */
export function file(header: object | string, data: Uint8Array = new Uint8Array(0), claimed?: bigint): string {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimed ?? BigInt(text.byteLength));
  const path = join(temporary, "case.safetensors");
  writeFileSync(path, Buffer.concat([length, text, data]));
  return path;
}

/** What reading a file throws. */
export async function failure(path: string): Promise<unknown> {
  return openSafetensors(path)
    .then(readAll)
    .then(
      () => null,
      (reason: unknown) => reason,
    );
}

/** Value of a bfloat16: its bits are the upper half of a float32's. */
export function fromBfloat16(bits: number): number {
  const word = new DataView(new ArrayBuffer(4));
  word.setUint16(0, bits);
  return word.getFloat32(0);
}
