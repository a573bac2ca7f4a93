import { existsSync, readFileSync } from "node:fs";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PeftError } from "@peftjs/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadTokenizer, saveTokenizer } from "./loadTokenizer.ts";
import { createTokenizer, type EncodeOptions, type Tokenizer } from "./tokenizer.ts";
import { keptLengths } from "./truncate.ts";

interface Example {
  readonly text: string;
  readonly pair?: string;
  readonly maxLength?: number;
  readonly truncation?: "longest_first" | "only_first" | "only_second";
  readonly ids: number[];
  readonly types: number[];
}

const fixtures = fileURLToPath(new URL("../../../../fixtures/models/tokenizers/", import.meta.url));
const { encodings } = JSON.parse(readFileSync(join(fixtures, "encodings.json"), "utf8")) as {
  encodings: Record<string, Example[]>;
};
/** The published tokenizer, where it lies beside the checkout. */
const published = fileURLToPath(new URL("../../../../../shared/data/tokenizers/bert-base-uncased/", import.meta.url));

let dir = "";
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "peftjs-tokenizer-"))));
afterEach(() => rm(dir, { recursive: true }));

function expectSame(tokenizer: Tokenizer, examples: readonly Example[]): void {
  expect(examples.length).toBeGreaterThanOrEqual(40);
  for (const { text, pair, maxLength, truncation, ids, types } of examples) {
    const options: EncodeOptions = {
      truncation: truncation ?? "none",
      ...(maxLength === undefined ? {} : { maxLength }),
    };
    expect(tokenizer.encode(text, pair, options), JSON.stringify([text, pair])).toEqual({ ids, typeIds: types });
  }
}

describe("tokenizers equal the Rust library", () => {
  it.each(["bert", "roberta"])("%s: tokenizer.json", async (name) =>
    expectSame(await loadTokenizer(join(fixtures, name)), encodings[name] ?? []),
  );

  it.each([
    ["bert", ["vocab.txt"]],
    ["roberta", ["vocab.json", "merges.txt"]],
  ] as const)("%s: raw vocabulary alone", async (name, files) => {
    for (const file of files) await copyFile(join(fixtures, name, file), join(dir, file));
    const [raw, full] = [await loadTokenizer(dir), await loadTokenizer(join(fixtures, name))];
    // Without a template the raw RoBERTa mask token also takes the space in front of it, as the published one does.
    expectSame(
      raw,
      (encodings[name] ?? []).filter(({ text }) => !(name === "roberta" && text.includes("<mask>"))),
    );
    expect(raw.padTokenId).toBe(full.padTokenId);
    expect(raw.specialTokens).toEqual(full.specialTokens);
  });

  it.each(["bert", "roberta"])("%s: saved and loaded again", async (name) => {
    await saveTokenizer(await loadTokenizer(join(fixtures, name)), dir);
    expectSame(await loadTokenizer(dir), encodings[name] ?? []);
  });

  it.skipIf(!existsSync(published))("bert-base-uncased", async () =>
    expectSame(await loadTokenizer(published), encodings["bert-base-uncased"] ?? []),
  );
});

describe("encode", () => {
  it("keeps both texts where tokenizer.json has no template", () => {
    const json = JSON.parse(readFileSync(join(fixtures, "roberta", "tokenizer.json"), "utf8")) as Record<
      string,
      unknown
    >;
    const tokenizer = createTokenizer({ tokenizer: { ...json, post_processor: { type: "ByteLevel" } } });
    const [a, b] = [tokenizer.encode("the fox").ids, tokenizer.encode("dog").ids];
    expect(tokenizer.encode("the fox", "dog")).toEqual({ ids: [...a, ...b], typeIds: [...a, ...b].map(() => 0) });
  });

  it("never exceeds what the model has positions for", async () => {
    for (const file of ["tokenizer.json", "tokenizer_config.json"])
      await copyFile(join(fixtures, "roberta", file), join(dir, file));
    await writeFile(
      join(dir, "config.json"),
      JSON.stringify({ model_type: "roberta", max_position_embeddings: 22, pad_token_id: 1 }),
    );
    const tokenizer = await loadTokenizer(dir);
    expect(tokenizer.maxLength).toBe(20);
    const { ids } = tokenizer.encode("the quick brown fox ".repeat(20), null, { maxLength: 500 });
    expect(ids.length).toBe(20);
    expect(ids.at(-1)).toBe(tokenizer.specialTokens.sep);
  });

  it("decodes, and leaves special tokens out on request", async () => {
    const tokenizer = await loadTokenizer(join(fixtures, "bert"));
    const { ids } = tokenizer.encode("the quick brown fox");
    expect(tokenizer.decode(ids)).toBe("the quick brown fox");
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe("[CLS] the quick brown fox [SEP]");
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.encode("the fox", null, { addSpecialTokens: false }).ids).toEqual(
      tokenizer.encode("the fox").ids.slice(1, -1),
    );
    expect([tokenizer.specialCount(false), tokenizer.specialCount(true)]).toEqual([2, 3]);
  });
});

describe("truncation", () => {
  it.each([
    [10, 10, 13, 5, 5],
    [10, 10, 14, 5, 6],
    [10, 4, 13, 6, 4],
    [4, 10, 13, 4, 6],
    [10, 2, 13, 8, 2],
    [2, 10, 13, 2, 8],
    [7, 6, 13, 5, 5],
    [20, 5, 16, 8, 5],
    [5, 20, 16, 5, 8],
    [9, 9, 12, 4, 5],
  ])("%i and %i tokens in %i with 3 special ones: %i and %i", (n1, n2, maxLength, kept1, kept2) => {
    expect(keptLengths([n1, n2], maxLength - 3, "longest_first")).toEqual([kept1, kept2]);
  });

  it("keeps four of ten in six", () => expect(keptLengths([10, 0], 4, "longest_first")).toEqual([4, 0]));

  it("refuses what it cannot shorten", () => {
    for (const truncation of ["only_first", "only_second"] as const) {
      expect(() => keptLengths(truncation === "only_first" ? [2, 9] : [9, 2], 5, truncation)).toThrow(PeftError);
    }
    expect(() => keptLengths([3, 3], -1, "longest_first")).toThrow(PeftError);
  });
});

describe("what is missing is named", () => {
  const codeOf = async (work: Promise<unknown>): Promise<string> =>
    ((await work.catch((error: unknown) => error)) as PeftError).code;

  it("no folder, no tokenizer, broken files", async () => {
    expect(await codeOf(loadTokenizer(join(dir, "nowhere")))).toBe("FILE_NOT_FOUND");
    expect(await codeOf(loadTokenizer(dir))).toBe("TOKENIZER_MISSING");
    await writeFile(join(dir, "tokenizer.json"), "{");
    expect(await codeOf(loadTokenizer(dir))).toBe("JSON_INVALID");
    await writeFile(join(dir, "tokenizer.json"), "{}");
    expect(await codeOf(loadTokenizer(dir))).toBe("TOKENIZER_INVALID");
  });
});
