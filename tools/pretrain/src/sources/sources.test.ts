import { describe, expect, it } from "vitest";
import { detokenize, parseBrown } from "./brown.ts";
import { packSentences, sentencesOf } from "./text.ts";
import { parseSynset } from "./wordnet.ts";

describe("parseSynset", () => {
  it("takes words, hypernyms, definition and examples apart", () => {
    const line =
      '00003993 03 n 02 congener 0 near_thing 0 002 @ 00003553 n 0000 ~ 00001740 n 0000 | a whole (a thing or person) of the same kind; "lard was used, though its congener, butter, was better"; "the shopkeeper differs from his congener"  ';
    expect(parseSynset(line)).toEqual({
      id: "n00003993",
      file: "noun.Tops",
      lemmas: ["congener", "near thing"],
      gloss: "a whole (a thing or person) of the same kind",
      examples: ["lard was used, though its congener, butter, was better", "the shopkeeper differs from his congener"],
      hypernyms: ["n00003553"],
    });
  });
});

describe("Brown", () => {
  it("reads paragraphs of sentences without headlines", () => {
    const text =
      "\n\tThe/at jury/nn said/vbd ``/`` no/at ''/'' ./.\nIt/pps ended/vbd ./.\n\nMerger/nn-hl proposed/vbn-hl \n\n\tMr./np Pye/np left/vbd ,/, (/( too/rb )/) ./.\n";
    const paragraphs = parseBrown(text);
    expect(paragraphs.map((sentences) => sentences.map(detokenize).join(" "))).toEqual([
      'The jury said "no". It ended.',
      "Mr. Pye left, (too).",
    ]);
  });
});

describe("sentences", () => {
  it("do not end at abbreviations", () => {
    expect(sentencesOf('I met Mr. Smith of the U.S. Senate. "Who?" He left! It was No. 5 then.')).toEqual([
      "I met Mr. Smith of the U.S. Senate.",
      '"Who?"',
      "He left!",
      "It was No. 5 then.",
    ]);
  });

  it("are packed to a number of words", () => {
    expect(packSentences(["a b.", "c d.", "e f.", "g."], 3)).toEqual(["a b. c d.", "e f. g."]);
  });
});
