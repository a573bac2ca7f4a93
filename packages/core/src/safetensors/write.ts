import type { FileHandle } from "node:fs/promises";
import { writeFileAtomic } from "../files.ts";
import { isInt8 } from "../int8.ts";
import { narrow, widen } from "../stored.ts";
import { float32, sizeOf, type Int8Tensor, type StoredTensor } from "../tensors.ts";
import { FILE_DTYPES, inputScalesName, scalesName, type FileDType } from "./dtypes.ts";

export interface WriteSafetensorsOptions {
  /** Type of the floating-point tensors in the file, rounded to nearest even. Default: each one's own. */
  readonly dtype?: "F32" | "F16" | "BF16";
  /** Matrices in eight bits as they are: I8 under their own name, the factors beside it. Default: as float32, which everyone reads. */
  readonly keepInt8?: boolean;
  /** Default `{ format: "pt" }`, which the Python library looks for. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Elements converted and written at once. */
const CHUNK = 1 << 20;

/**
 * Writes a safetensors file byte for byte as the reference implementation does: tensors by alignment, largest first, then by
 * name; header padded to a multiple of 8. The file appears complete or not at all.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  { dtype, keepInt8 = false, metadata = { format: "pt" } }: WriteSafetensorsOptions = {},
): Promise<void> {
  const entries = [...tensors].flatMap(([name, tensor]): Entry[] =>
    keepInt8 && isInt8(tensor) ? int8Entries(name, tensor) : [{ name, tensor, type: fileType(tensor, dtype) }],
  );
  entries.sort((a, b) => FILE_DTYPES[b.type] - FILE_DTYPES[a.type] || compareBytes(a.name, b.name));
  const header: [string, unknown][] = Object.keys(metadata).length === 0 ? [] : [["__metadata__", metadata]];
  let position = 0;
  for (const { name, tensor, type } of entries) {
    const end = position + sizeOf(tensor.shape) * FILE_DTYPES[type];
    header.push([name, { dtype: type, shape: tensor.shape, data_offsets: [position, end] }]);
    position = end;
  }
  await writeFileAtomic(path, async (file) => {
    await file.writeFile(headerBytes(header));
    for (const { tensor, type } of entries) await writeData(file, tensor, type);
  });
}

interface Entry {
  readonly name: string;
  readonly tensor: StoredTensor;
  readonly type: FileDType;
}

function int8Entries(name: string, tensor: Int8Tensor): Entry[] {
  const factors = (own: string, values: Float32Array): Entry => ({
    name: own,
    tensor: float32(values, [values.length]),
    type: "F32",
  });
  const { scales, inputScales } = tensor;
  return [
    { name, tensor, type: "I8" },
    factors(scalesName(name), scales),
    ...(inputScales === undefined ? [] : [factors(inputScalesName(name), inputScales)]),
  ];
}

/** Eight bits are how a program holds frozen weights, not how files do unless asked. */
const OWN_TYPE = {
  int8: "F32",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int32: "I32",
  bool: "BOOL",
} as const satisfies Record<StoredTensor["dtype"], FileDType>;

function fileType({ dtype }: StoredTensor, floatType: WriteSafetensorsOptions["dtype"]): FileDType {
  return dtype === "int32" || dtype === "bool" ? OWN_TYPE[dtype] : (floatType ?? OWN_TYPE[dtype]);
}

/** Order of UTF-8 bytes, which is that of code points. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function headerBytes(header: readonly [string, unknown][]): Uint8Array {
  // Written entry by entry: an object would move names that look like numbers to the front.
  const json = Buffer.from(
    `{${header.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`,
  );
  const bytes = Buffer.alloc(8 + Math.ceil(json.byteLength / 8) * 8, " ");
  bytes.writeBigUInt64LE(BigInt(bytes.byteLength - 8), 0);
  json.copy(bytes, 8);
  return bytes;
}

async function writeData(file: FileHandle, stored: StoredTensor, type: FileDType): Promise<void> {
  const tensor = isInt8(stored) && type !== "I8" ? widen(stored) : stored;
  for (let first = 0; first < tensor.data.length; first += CHUNK) {
    const values = tensor.data.subarray(first, first + CHUNK);
    const part = { ...tensor, shape: [values.length], data: values } as StoredTensor;
    const { data } = converted(part, type);
    await file.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}

function converted(part: StoredTensor, type: FileDType): StoredTensor {
  if (type === "I8") return part;
  return type === "F16" ? narrow(part, "float16") : type === "BF16" ? narrow(part, "bfloat16") : widen(part);
}
