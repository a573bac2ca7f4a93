import { PeftError } from "../errors.ts";
import { duplicateKey } from "./duplicateKey.ts";
import { FILE_DTYPES, UNREAD_DTYPES } from "./dtypes.ts";

/** One tensor of a file. `begin` and `end` are bytes from the start of the file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The format's own limit. */
export const MAX_HEADER_BYTES = 100_000_000;

export function invalid(path: string, what: string): PeftError {
  return new PeftError(
    "SAFETENSORS_INVALID",
    `${path} is not a valid safetensors file: ${what}. It may be truncated or damaged: download or save it again.`,
  );
}

/** Checks every claim of a header against the file's size; nothing else is allocated. */
export function parseHeader(
  bytes: Uint8Array,
  { path, fileSize }: { readonly path: string; readonly fileSize: number },
): SafetensorsHeader {
  const entries = parseJson(bytes, path);
  const dataStart = 8 + bytes.byteLength;
  const tensors = new Map<string, TensorInfo>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of entries) {
    if (name === "__metadata__") metadata = parseMetadata(value, path);
    else tensors.set(name, parseEntry(value, { name, path, dataStart, fileSize }));
  }
  checkLayout([...tensors.values()], { path, dataStart, fileSize });
  return { tensors, metadata };
}

function parseJson(bytes: Uint8Array, path: string): [string, unknown][] {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new PeftError("SAFETENSORS_INVALID", invalid(path, "the header is not UTF-8").message, { cause });
  }
  if (!text.startsWith("{")) throw invalid(path, "the header does not start with {");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PeftError(
      "SAFETENSORS_INVALID",
      invalid(path, `the header is not JSON (${(cause as Error).message})`).message,
      { cause },
    );
  }
  const twice = duplicateKey(text);
  if (twice !== null) throw invalid(path, `the header names "${twice}" twice`);
  return Object.entries(value as object);
}

function parseMetadata(value: unknown, path: string): Record<string, string> {
  if (!isObject(value) || !Object.values(value).every((item) => typeof item === "string"))
    throw invalid(path, "__metadata__ is not a map of strings");
  return value as Record<string, string>;
}

interface EntryContext {
  readonly name: string;
  readonly path: string;
  readonly dataStart: number;
  readonly fileSize: number;
}

function parseEntry(value: unknown, { name, path, dataStart, fileSize }: EntryContext): TensorInfo {
  const wrong = (what: string): PeftError => invalid(path, `tensor "${name}" ${what}`);
  if (!isObject(value)) throw wrong("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = value;
  const size =
    typeof dtype === "string"
      ? ((FILE_DTYPES as Readonly<Record<string, number>>)[dtype] ?? UNREAD_DTYPES[dtype])
      : undefined;
  if (typeof dtype !== "string" || size === undefined) throw wrong(`has the unknown dtype ${JSON.stringify(dtype)}`);
  if (!isCounts(shape))
    throw wrong(`has the shape ${JSON.stringify(shape)}, expected whole numbers that are not negative`);
  if (!isCounts(offsets) || offsets.length !== 2)
    throw wrong(`has the data_offsets ${JSON.stringify(offsets)}, expected two whole numbers`);
  const [begin, end] = offsets as [number, number];
  if (end < begin || dataStart + end > fileSize)
    throw wrong(`claims the bytes ${begin} to ${end} of ${fileSize - dataStart}`);
  // Zero dimensions do not excuse the others: readers in other languages multiply in order.
  const elements = shape.reduce((product, dimension) => product * Math.max(dimension, 1), 1);
  if (!Number.isSafeInteger(elements * size)) throw wrong(`has the absurd shape [${shape.join(", ")}]`);
  const bytes = shape.includes(0) ? 0 : elements * size;
  if (end - begin !== bytes)
    throw wrong(`of shape [${shape.join(", ")}] and dtype ${dtype} needs ${bytes} bytes, but claims ${end - begin}`);
  return { name, dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

/** The tensors must cover the data section exactly: no holes, no overlaps, nothing left over. */
function checkLayout(tensors: TensorInfo[], { path, dataStart, fileSize }: Omit<EntryContext, "name">): void {
  let position = dataStart;
  for (const { name, begin, end } of tensors.sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin < position) throw invalid(path, `tensor "${name}" overlaps the one before it`);
    if (begin > position) throw invalid(path, `${begin - position} bytes before tensor "${name}" belong to no tensor`);
    position = end;
  }
  if (position !== fileSize) throw invalid(path, `${fileSize - position} bytes at the end belong to no tensor`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0 && !Object.is(item, -0));
}
