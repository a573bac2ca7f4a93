import { describe, expect, it } from "vitest";
import { createEncoder } from "./encode.ts";
import { SPECIAL_TOKENS, trainVocabulary } from "./train.ts";
import { basicTokens } from "./words.ts";

describe("basicTokens", () => {
  it("is BERT's uncased pre-tokenization", () => {
    expect(basicTokens("Café naïve\u00ad—“x” 3,000.50$ <a|b> don't 中文")).toEqual(
      "cafe naive — “ x ” 3 , 000 . 50 $ < a | b > don ' t 中 文".split(" "),
    );
  });
});

describe("trainVocabulary", () => {
  const options = { size: 1000, minimumWordCount: 1, minimumCharacterCount: 1 };

  it("merges the most frequent neighbours first", () => {
    const counts = new Map([
      ["hug", 10],
      ["pug", 5],
      ["pun", 12],
      ["bun", 4],
      ["hugs", 5],
    ]);
    const pieces = trainVocabulary(counts, { ...options, size: SPECIAL_TOKENS.length + 14 + 4 });
    expect(pieces.slice(SPECIAL_TOKENS.length)).toEqual([
      ..."bghnpsu",
      ...[..."bghnpsu"].map((character) => `##${character}`),
      "##ug",
      "##un",
      "hug",
      "pun",
    ]);
  });

  it("stops when every word is one piece, and has no piece twice", () => {
    const pieces = trainVocabulary(
      new Map([
        ["abab", 3],
        ["ab", 2],
        ["bab", 1],
      ]),
      options,
    );
    expect(new Set(pieces).size).toBe(pieces.length);
    expect(pieces).toEqual(expect.arrayContaining(["ab", "abab", "bab"]));
  });
});

describe("createEncoder", () => {
  const vocabulary = [...SPECIAL_TOKENS, "un", "##want", "##ed", "run", "##ning", "##n", ","];
  const encode = createEncoder(vocabulary);
  const pieces = (text: string): (string | undefined)[] => encode(text).map((id) => vocabulary[id]);

  it("takes the longest piece from the left", () => {
    expect(pieces("Unwanted, running")).toEqual(["un", "##want", "##ed", ",", "run", "##ning"]);
  });

  it("gives one [UNK] for a word that cannot be spelled or is too long", () => {
    expect(pieces("unwantedX")).toEqual(["[UNK]"]);
    expect(pieces(`run${"n".repeat(98)}`)).toEqual(["[UNK]"]);
    expect(pieces(`run${"n".repeat(97)}`)).toHaveLength(98);
  });
});
