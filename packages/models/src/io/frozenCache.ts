import { createHash } from "node:crypto";
import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { PeftError, SafetensorsFile, writeSafetensors } from "@peftjs/core";
import type { Int8Tensor, TensorSource } from "@peftjs/core";
import type { HeldInt8 } from "./frozen.ts";

/** Of what the files hold and how values are quantized: to be raised when either changes. */
const FORMAT = "1";

/** A weight to be held in eight bits: how, and which tensor of the source it comes from. */
export interface CachedWeight extends Pick<HeldInt8, "axis" | "backward" | "norm"> {
  readonly name: string;
  readonly fileName: string;
  readonly shape: readonly number[];
}

/** A file of quantized weights, made of certain weights of a certain source. */
export interface FrozenCache {
  /** The weights by name; null where the file does not exist, is damaged, or was made of something else. */
  read(): Promise<ReadonlyMap<string, Int8Tensor> | null>;
  write(tensors: ReadonlyMap<string, Int8Tensor>): Promise<void>;
}

/**
 * The file in `folder` for these weights of a source. A source has one file for each choice of weights, which is written anew when the
 * source changes: when its files have another size, or a later time of change (which, unlike that of modification, cannot be set).
 */
export async function frozenCache(
  folder: string,
  { source, weights }: { readonly source: TensorSource; readonly weights: readonly CachedWeight[] },
): Promise<FrozenCache> {
  const files = await Promise.all(source.files.map(stateOf));
  const wanted = weights.map(({ backward: _, ...weight }) => weight);
  const key = createHash("sha256").update(JSON.stringify([files.map(({ path }) => path), wanted]));
  const model = basename(dirname(files[0]?.path ?? ""));
  const path = join(folder, `${model}-${key.digest("hex").slice(0, 16)}.int8.safetensors`);
  const fingerprint = JSON.stringify({ format: FORMAT, files, weights: wanted });
  return {
    read: () => readCache(path, fingerprint, weights),
    write: (tensors) => writeCache(path, fingerprint, tensors),
  };
}

interface FileState {
  readonly path: string;
  readonly size: string;
  readonly modified: string;
  readonly changed: string;
}

async function stateOf(file: string): Promise<FileState> {
  const path = await realpath(file);
  const { size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return { path, size: String(size), modified: String(mtimeNs), changed: String(ctimeNs) };
}

async function readCache(
  path: string,
  fingerprint: string,
  weights: readonly CachedWeight[],
): Promise<ReadonlyMap<string, Int8Tensor> | null> {
  let file: SafetensorsFile | null = null;
  try {
    file = await SafetensorsFile.open(path);
    if (file.metadata["fingerprint"] !== fingerprint) return null;
    const tensors = new Map<string, Int8Tensor>();
    for (const { name, shape, ...how } of weights) {
      const tensor = await file.int8(name, how);
      if (tensor.shape.join() !== shape.join() || file.metadata[name] !== checksum(tensor)) return null;
      tensors.set(name, tensor);
    }
    return tensors;
  } catch (error) {
    // Whatever is wrong with it, the source has the weights.
    if (error instanceof PeftError) return null;
    throw error;
  } finally {
    await file?.close();
  }
}

async function writeCache(path: string, fingerprint: string, tensors: ReadonlyMap<string, Int8Tensor>): Promise<void> {
  const checksums = [...tensors].map(([name, tensor]) => [name, checksum(tensor)] as const);
  const metadata = { fingerprint, ...Object.fromEntries(checksums) };
  await writeSafetensors(path, tensors, { keepInt8: true, metadata });
}

/** The format says nothing of values that were changed on their way: a disk's error would be a weight. */
function checksum({ data, scales, inputScales }: Int8Tensor): string {
  const bytes = (values: Int8Array | Float32Array): Uint8Array =>
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  // Of no bytes at all, crc32 gives 0 whatever came before.
  const parts = [data, scales, ...(inputScales === undefined ? [] : [inputScales])];
  return parts.reduce((sum, part) => crc32(bytes(part), sum), 0).toString(16);
}
