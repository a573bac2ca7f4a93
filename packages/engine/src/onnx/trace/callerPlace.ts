import { fileURLToPath } from "node:url";

/** A call in the caller's own code. */
export interface Caller {
  /** `file:line:column`. */
  readonly place: string;
  /** What was called there, in the caller's words: `tf.matMul`, `Tensor.dataSync`, `gelu`. Null when it has no name. */
  readonly callee: string | null;
}

interface Frame {
  readonly name: string;
  readonly file: string;
  readonly position: string;
}

/** The innermost frame of a stack that belongs neither to tfjs nor to PEFT.js, and what it called. Null when there is none. */
export function callerOf(stack: string): Caller | null {
  let callee: string | null = null;
  for (const line of stack.split("\n")) {
    const frame = frameOf(line);
    if (frame === null) continue;
    if (!isInternal(frame.file)) return { place: `${frame.file}:${frame.position}`, callee };
    callee = calleeOf(frame);
  }
  return null;
}

/** `    at name (file:line:column)` or `    at file:line:column`; the file is a path or a URL, with or without a query. */
function frameOf(line: string): Frame | null {
  const match = /^\s*at (?:(.+?) \()?((?:[a-z]+:|\/|[A-Za-z]:[\\/]).*?)(?:\?[^:]*)?:(\d+:\d+)\)?$/.exec(line);
  if (match === null) return null;
  const [, name = "", file = "", position = ""] = match;
  return { name, file: pathOf(file), position };
}

function pathOf(file: string): string {
  try {
    return file.startsWith("file:") ? fileURLToPath(file) : file;
  } catch {
    // A URL that no path of this system corresponds to names the place as well.
    return file;
  }
}

/** tfjs as it is installed, as its source maps name it, and the helpers it was compiled with; this project's core and engine. */
const INTERNAL = [
  /[\\/]@tensorflow[\\/+]/,
  /[\\/]tfjs(?:-[a-z]+)*[\\/](?:src|dist)[\\/]/,
  /[\\/]node_modules[\\/]tslib[\\/]/,
  /[\\/]@peftjs[\\/](?:core|engine)[\\/]/,
  /^node:/,
];

/** `…/packages/` in a checkout, where no folder is named after the scope. */
const SIBLINGS = /^(.*[\\/])engine[\\/](?:src|dist)[\\/]/.exec(fileURLToPath(import.meta.url))?.[1] ?? null;

function isInternal(file: string): boolean {
  if (INTERNAL.some((pattern) => pattern.test(file))) return true;
  if (SIBLINGS === null || !file.startsWith(SIBLINGS)) return false;
  return /^(?:core|engine)[\\/](?:src|dist)[\\/]/.test(file.slice(SIBLINGS.length));
}

function calleeOf({ name, file }: Frame): string | null {
  const path = name.replace(/^(?:async|new) /, "").replace(/ \[as \w+\]$/, "");
  const last = path.split(".").at(-1) ?? "";
  if (!/^[A-Za-z]\w*$/.test(last)) return null;
  if (/[\\/](?:core|engine)[\\/](?:src|dist)[\\/]/.test(file) && !/tfjs/.test(file)) return last;
  if (/^(?:Tensor|Variable)\./.test(path)) return `Tensor.${last}`;
  if (/^Engine\./.test(path)) return `tf.engine().${last}`;
  // tfjs's functions end in "_", the scopes that wrap them in "__op".
  return `tf.${last.replace(/_(?:_op)?$/, "")}`;
}
