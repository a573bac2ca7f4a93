import { open, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { PeftError } from "../errors.ts";
import { asPeftError, readJsonObject } from "../files.ts";
import { didYouMean } from "../nearMisses.ts";
import { widenInto } from "../halves.ts";
import type { QuantizeOptions } from "../int8.ts";
import { sizeOf, type HalfType, type HostTensor, type Int8Tensor, type StoredTensor } from "../tensors.ts";
import { FILE_DTYPES, inputScalesName, scalesName, type FileDType } from "./dtypes.ts";
import { invalid, MAX_HEADER_BYTES, parseHeader, type SafetensorsHeader, type TensorInfo } from "./header.ts";

/** Tensors in one or several files: the headers are in memory, the values are read when asked for. */
export interface TensorSource {
  readonly names: readonly string[];
  /** @throws PeftError `TENSOR_MISSING`. */
  info(name: string): TensorInfo;
  /** Reads one tensor: floating-point types as float32, integers as int32, BOOL as bool. */
  tensor(name: string): Promise<HostTensor>;
  /** Reads one tensor: F16 and BF16 as they are, everything else as `tensor` does. */
  stored(name: string): Promise<StoredTensor>;
  /** Paths of the files that hold the tensors. */
  readonly files: readonly string[];
  close(): Promise<void>;
}

/** Bytes asked of the file system in one call, and converted at once for types that are widened. */
const READ_BYTES = 1 << 30;
const CONVERT_BYTES = 1 << 20;

const HALVES: Readonly<Record<string, HalfType>> = { F16: "float16", BF16: "bfloat16" };

/** One open safetensors file. Close it when its tensors are read. */
export class SafetensorsFile implements TensorSource {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #tensors: ReadonlyMap<string, TensorInfo>;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle, header: SafetensorsHeader) {
    this.path = path;
    this.#file = file;
    this.#tensors = header.tensors;
    this.metadata = header.metadata;
  }

  /**
   * Reads and checks the header; no more is allocated than the file has bytes.
   * @throws PeftError `FILE_NOT_FOUND`, `FILE_UNREADABLE`, `SAFETENSORS_INVALID`.
   */
  static async open(path: string): Promise<SafetensorsFile> {
    let file: FileHandle | null = null;
    try {
      file = await open(path, "r");
      return new SafetensorsFile(path, file, await readHeader(file, path));
    } catch (error) {
      await file?.close();
      throw asPeftError(error, path, "read");
    }
  }

  get files(): readonly string[] {
    return [this.path];
  }

  get names(): readonly string[] {
    return [...this.#tensors.keys()];
  }

  info(name: string): TensorInfo {
    const info = this.#tensors.get(name);
    if (info === undefined) throw missing(name, this.path, this.names);
    return info;
  }

  async tensor(name: string): Promise<HostTensor> {
    const info = this.info(name);
    return this.#failing(() => this.#read(info, this.#typeOf(info)));
  }

  async stored(name: string): Promise<StoredTensor> {
    const info = this.info(name);
    const half = HALVES[info.dtype];
    if (half === undefined) return this.tensor(name);
    const bytes = await this.#failing(() => this.#bytes(info.begin, info.end));
    return { dtype: half, shape: info.shape, data: new Uint16Array(bytes) };
  }

  /**
   * Reads a matrix that was written with `keepInt8`.
   * @throws PeftError `TENSOR_MISSING`, `SAFETENSORS_INVALID` for one that is something else.
   */
  async int8(name: string, { axis, backward = "int8" }: Omit<QuantizeOptions, "inputScales">): Promise<Int8Tensor> {
    const info = this.info(name);
    const { shape } = info;
    if (info.dtype !== "I8" || shape.length !== 2) throw invalid(this.path, `"${name}" is no matrix in eight bits`);
    const factors = async (own: string, along: number): Promise<Float32Array> => {
      const found = this.info(own);
      if (found.dtype !== "F32" || found.shape.join() !== String(shape[along]))
        throw invalid(this.path, `"${own}" has no factor for each index of axis ${along} of "${name}"`);
      return (await this.tensor(own)).data as Float32Array;
    };
    const scales = await factors(scalesName(name), axis);
    const inputs = inputScalesName(name);
    const inputScales = this.#tensors.has(inputs) ? { inputScales: await factors(inputs, 1 - axis) } : {};
    const data = new Int8Array(await this.#failing(() => this.#bytes(info.begin, info.end)));
    return { dtype: "int8", shape, data, scales, axis, backward, ...inputScales };
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #typeOf({ name, dtype }: TensorInfo): FileDType {
    if (dtype in FILE_DTYPES) return dtype as FileDType;
    throw new PeftError(
      "DTYPE_UNSUPPORTED",
      `Tensor "${name}" of ${this.path} has dtype ${dtype}; ${Object.keys(FILE_DTYPES).join(", ")} can be read. Convert the file first.`,
    );
  }

  async #failing<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      throw asPeftError(error, this.path, "read");
    }
  }

  async #read(info: TensorInfo, dtype: FileDType): Promise<HostTensor> {
    const { shape } = info;
    const size = sizeOf(shape);
    if (dtype === "F32")
      return { dtype: "float32", shape, data: new Float32Array(await this.#bytes(info.begin, info.end)) };
    if (dtype === "I32")
      return { dtype: "int32", shape, data: new Int32Array(await this.#bytes(info.begin, info.end)) };
    if (dtype === "BOOL")
      return { dtype: "bool", shape, data: new Uint8Array(await this.#bytes(info.begin, info.end)) };
    const integer = dtype === "U8" || dtype === "I8" || dtype === "I64";
    const data = integer ? new Int32Array(size) : new Float32Array(size);
    const step = CONVERT_BYTES / FILE_DTYPES[dtype];
    for (let first = 0; first < size; first += step) {
      const begin = info.begin + first * FILE_DTYPES[dtype];
      const buffer = await this.#bytes(begin, Math.min(info.end, begin + CONVERT_BYTES));
      widen(buffer, { dtype, into: data.subarray(first, first + step), name: info.name, path: this.path });
    }
    return integer ? { dtype: "int32", shape, data } : { dtype: "float32", shape, data };
  }

  async #bytes(begin: number, end: number): Promise<ArrayBuffer> {
    const bytes = new Uint8Array(end - begin);
    await readFully(this.#file, bytes, { position: begin, path: this.path });
    return bytes.buffer;
  }
}

async function readHeader(file: FileHandle, path: string): Promise<SafetensorsHeader> {
  const info = await file.stat();
  if (!info.isFile())
    throw new PeftError("FILE_UNREADABLE", `${path} is not a file. Give the path of a .safetensors file.`);
  if (info.size < 8) throw invalid(path, `it has ${info.size} bytes, fewer than the 8 of the header's length`);
  const lengthBytes = new Uint8Array(8);
  await readFully(file, lengthBytes, { position: 0, path });
  const length = Number(new DataView(lengthBytes.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || length > info.size - 8)
    throw invalid(path, `its header claims ${length} bytes of a file of ${info.size}`);
  const bytes = new Uint8Array(length);
  await readFully(file, bytes, { position: 8, path });
  return parseHeader(bytes, { path, fileSize: info.size });
}

async function readFully(
  file: FileHandle,
  into: Uint8Array,
  { position, path }: { readonly position: number; readonly path: string },
): Promise<void> {
  let done = 0;
  while (done < into.byteLength) {
    const { bytesRead } = await file.read(into, done, Math.min(READ_BYTES, into.byteLength - done), position + done);
    if (bytesRead === 0)
      throw invalid(path, `it ends after ${position + done} bytes while ${position + into.byteLength} are needed`);
    done += bytesRead;
  }
}

interface WidenOptions {
  readonly dtype: "F64" | "F16" | "BF16" | "U8" | "I8" | "I64";
  readonly into: Float32Array | Int32Array;
  readonly name: string;
  readonly path: string;
}

function widen(buffer: ArrayBuffer, { dtype, into, name, path }: WidenOptions): void {
  if (dtype === "F64") into.set(new Float64Array(buffer));
  else if (dtype === "U8") into.set(new Uint8Array(buffer));
  else if (dtype === "I8") into.set(new Int8Array(buffer));
  else if (dtype === "F16" || dtype === "BF16")
    widenInto(into as Float32Array, new Uint16Array(buffer), HALVES[dtype] as HalfType);
  else {
    new BigInt64Array(buffer).forEach((value, i) => {
      into[i] = Number(value);
      if (BigInt(into[i] as number) !== value) {
        throw new PeftError(
          "DTYPE_UNSUPPORTED",
          `Tensor "${name}" of ${path} holds the 64-bit integer ${value}, which does not fit into 32 bits.`,
        );
      }
    });
  }
}

/**
 * Opens a safetensors file, an index of shards (`model.safetensors.index.json`), or a folder that holds either.
 * @throws PeftError as `SafetensorsFile.open`, and `JSON_INVALID` for a broken index.
 */
export async function openSafetensors(folderOrFile: string): Promise<TensorSource> {
  const info = await stat(folderOrFile).catch((error: unknown) => {
    throw asPeftError(error, folderOrFile, "read");
  });
  if (!info.isDirectory())
    return folderOrFile.endsWith(".json") ? openShards(folderOrFile) : SafetensorsFile.open(folderOrFile);
  for (const name of ["model.safetensors", "model.safetensors.index.json"]) {
    const path = join(folderOrFile, name);
    if ((await stat(path).catch(() => null)) !== null) return openSafetensors(path);
  }
  throw new PeftError(
    "FILE_NOT_FOUND",
    `${folderOrFile} has neither model.safetensors nor model.safetensors.index.json. Weights in other formats can be converted in Python with model.save_pretrained(folder).`,
  );
}

async function openShards(path: string): Promise<TensorSource> {
  const shardOf = parseIndex(await readJsonObject(path), path);
  const files = new Map<string, SafetensorsFile>();
  const close = async (): Promise<void> => void (await Promise.all([...files.values()].map((file) => file.close())));
  try {
    for (const shard of new Set(shardOf.values()))
      files.set(shard, await SafetensorsFile.open(join(path, "..", shard)));
    const fileOf = (name: string): SafetensorsFile => {
      const shard = shardOf.get(name);
      if (shard === undefined) throw missing(name, path, [...shardOf.keys()]);
      return files.get(shard) as SafetensorsFile;
    };
    for (const name of shardOf.keys()) fileOf(name).info(name);
    return {
      names: [...shardOf.keys()],
      files: [...files.values()].map((file) => file.path),
      info: (name) => fileOf(name).info(name),
      tensor: (name) => fileOf(name).tensor(name),
      stored: (name) => fileOf(name).stored(name),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function parseIndex(json: Record<string, unknown>, path: string): Map<string, string> {
  const entries = Object.entries((json["weight_map"] ?? {}) as object);
  for (const [name, shard] of entries) {
    // A shard lies beside its index: a path could lead anywhere.
    if (typeof shard !== "string" || !/^[^/\\]+\.safetensors$/u.test(shard)) {
      throw new PeftError(
        "JSON_INVALID",
        `${path} maps "${name}" to ${JSON.stringify(shard)}, expected the name of a .safetensors file beside it.`,
      );
    }
  }
  if (entries.length === 0) throw new PeftError("JSON_INVALID", `${path} has no weight_map with tensors.`);
  return new Map(entries as [string, string][]);
}

function missing(name: string, path: string, names: readonly string[]): PeftError {
  return new PeftError("TENSOR_MISSING", `${path} has no tensor "${name}".${didYouMean(name, names)}`);
}
