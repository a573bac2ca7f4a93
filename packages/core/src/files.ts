import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { PeftError } from "./errors.ts";

let written = 0;

/** Writes a file in one step for its readers: a temporary file beside it takes its place when it is complete. */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array | ((file: FileHandle) => Promise<void>),
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${++written}.tmp`);
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, "wx");
    try {
      await (typeof data === "function" ? data(file) : file.writeFile(data));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw asPeftError(error, path, "write");
  }
}

/**
 * Fills a folder in one step for its readers: `fill` writes into a temporary folder beside it, which takes its place when `fill`
 * has succeeded. When `dir` exists already, the new entries replace those of the same name and the others stay.
 */
export async function writeFolderAtomic(dir: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  const target = resolve(dir);
  let temporary: string | null = null;
  try {
    await mkdir(dirname(target), { recursive: true });
    temporary = await mkdtemp(join(dirname(target), `.${basename(target)}.tmp-`));
    await fill(temporary);
    await moveInto(temporary, target);
  } catch (error) {
    throw asPeftError(error, dir, "write");
  } finally {
    if (temporary !== null) await rm(temporary, { recursive: true, force: true });
  }
}

async function moveInto(from: string, to: string): Promise<void> {
  const present = await stat(to).catch(() => null);
  if (present === null) return rename(from, to);
  if (!present.isDirectory())
    throw new PeftError("FILE_EXISTS", `${to} is a file, expected a folder. Choose another path.`);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    await (entry.isDirectory() ? moveInto(source, join(to, entry.name)) : rename(source, join(to, entry.name)));
  }
}

/** @throws PeftError `FILE_NOT_FOUND`, `FILE_UNREADABLE`. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw asPeftError(error, path, "read");
  }
}

/** @throws PeftError `FILE_NOT_FOUND`, `FILE_UNREADABLE`, `JSON_INVALID` with the parser's position. */
export async function readJson(path: string): Promise<unknown> {
  const text = await readText(path);
  try {
    return JSON.parse(text.replace(/^\uFEFF/u, ""));
  } catch (cause) {
    throw new PeftError("JSON_INVALID", `${path} is not valid JSON: ${(cause as Error).message}`, { cause });
  }
}

/** @throws PeftError as `readJson`, and `JSON_INVALID` when the file holds something other than an object. */
export async function readJsonObject(path: string): Promise<Record<string, unknown>> {
  const value = await readJson(path);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new PeftError(
    "JSON_INVALID",
    `${path} should hold a JSON object, found ${Array.isArray(value) ? "an array" : String(value)}.`,
  );
}

/** File-system errors as `PeftError`; others as they are. */
export function asPeftError(error: unknown, path: string, action: "read" | "write"): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (error instanceof PeftError || typeof code !== "string" || !/^E[A-Z0-9]+$/u.test(code)) return error;
  if (code === "ENOENT" && action === "read") {
    return new PeftError(
      "FILE_NOT_FOUND",
      `${path} does not exist. Check the path; relative paths start at ${process.cwd()}.`,
      { cause: error },
    );
  }
  const failed = action === "read" ? "FILE_UNREADABLE" : "FILE_UNWRITABLE";
  return new PeftError(failed, `Cannot ${action} ${path}: ${(error as Error).message}.`, { cause: error });
}
