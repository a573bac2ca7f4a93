import { join } from "node:path";
import { PeftError, readJson, writeFileAtomic } from "@peftjs/core";
import type { LabelScheme } from "@peftjs/data";
import { z } from "zod";

const FILE = "peftjs.json";

/** What using an adapter needs besides its own files, which stay as the Python library knows them. */
const AdapterInfo = z.object({
  format: z.literal(1),
  method: z.string(),
  kind: z.enum(["classification", "regression"]),
  /** In the order of the logits. */
  labels: z.array(z.string()),
  /** Tokens of the longest text. */
  maxLength: z.int().positive(),
});
export type AdapterInfo = z.infer<typeof AdapterInfo>;

/** Writes `peftjs.json` into an adapter's folder. */
export async function writeAdapterInfo(folder: string, info: Omit<AdapterInfo, "format">): Promise<void> {
  await writeFileAtomic(join(folder, FILE), `${JSON.stringify({ format: 1, ...info }, null, 2)}\n`);
}

/** Null for an adapter that another program wrote. Throws `ADAPTER_INFO_INVALID`. */
export async function readAdapterInfo(folder: string): Promise<AdapterInfo | null> {
  let json: unknown;
  try {
    json = await readJson(join(folder, FILE));
  } catch (error) {
    if (error instanceof PeftError && error.code === "FILE_NOT_FOUND") return null;
    throw error;
  }
  const parsed = AdapterInfo.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new PeftError(
    "ADAPTER_INFO_INVALID",
    `${join(folder, FILE)} is not what \`peftjs train\` writes:\n${z.prettifyError(parsed.error)}\nTrain the adapter again, or delete the file and name the labels with --labels.`,
  );
}

export function schemeOfInfo({ kind, labels }: Pick<AdapterInfo, "kind" | "labels">): LabelScheme {
  return { kind, labels };
}
