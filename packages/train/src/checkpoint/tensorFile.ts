import { readFile, writeFile } from "node:fs/promises";
import { float32 } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";

/** TEMPORARY until core's safetensors lands. */
export async function writeTensors(path: string, tensors: Named<HostTensor>): Promise<void> {
  const json = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, { shape: t.shape, data: Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString("base64") }]));
  await writeFile(path, JSON.stringify(json));
}

export async function readTensors(path: string): Promise<Named<HostTensor>> {
  const json = JSON.parse(await readFile(path, "utf8")) as Record<string, { shape: number[]; data: string }>;
  return Object.fromEntries(
    Object.entries(json).map(([name, { shape, data }]) => {
      const bytes = Buffer.from(data, "base64");
      return [name, float32(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)), shape)];
    }),
  );
}
